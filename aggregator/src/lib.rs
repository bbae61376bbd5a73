//! The aggregator: signed batches in, one agreed order, numbers and evidence out.
//!
//! In: sealed batches from agents and operators' commands, over mutually authenticated gRPC.
//! Out: acks (after commit, never before), the evidence directory, the HTTP API, page and metrics.
//! A batch's way, in the order of the modules: ingest → admission → consensus → state →
//! recorder (evidence) and views (api).
//!
//! This crate never runs a check, never opens an agent's files, never makes a protocol decision
//! outside [`state`], and never reads the clock outside [`clock`].

pub mod admission;
pub mod api;
pub mod catchup;
pub mod clock;
pub mod command;
pub mod config;
pub mod consensus;
pub mod fsck;
pub mod identity;
pub mod ingest;
pub mod limits;
pub mod meters;
pub mod metrics;
pub mod node;
pub mod recorder;
pub mod snapshot;
pub mod state;
pub mod tables;
pub mod views;
pub mod waiting;
