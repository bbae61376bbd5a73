//! The aggregator: signed batches in, one agreed order, numbers and evidence out.
//!
//! In: sealed batches from agents and operators' commands, over mutually authenticated gRPC.
//! Out: acks (after commit, never before), the evidence directory, the HTTP API, page and metrics.
//! A batch's way, in the order of the modules: ingest → admission → consensus → state →
//! recorder (evidence) and views (api).
//!
//! This crate never runs a check, never opens an agent's files, never makes a protocol decision
//! outside [`state`], and never reads the clock outside [`clock`].

pub mod config;
pub mod limits;
pub mod clock;
pub mod identity;
pub mod ingest;
pub mod admission;
pub mod command;
pub mod consensus;
pub mod state;
pub mod recorder;
pub mod tables;
pub mod views;
pub mod metrics;
pub mod api;
pub mod node;
