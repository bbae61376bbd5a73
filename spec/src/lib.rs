//! The documents people write: what shall be checked, how often, and how good it must be.
//!
//! In:  the text of YAML files (OpenSLO v1 and our own kind `Check`).
//! Out: typed, valid [`Documents`], or every [`Fault`] of every file at once, each with its place.
//! This crate never opens a file, asks the time, knows an agent's key or evaluates an objective.
//! Start at [`parse`]; what a valid document holds is in [`Documents`].

// The words a value may be written in.
mod address;
mod decimal;
mod duration;
mod glob;
mod name;
mod pattern;

// How text becomes a tree, and a tree becomes fields; where every fault goes.
mod fault;
pub mod form;
pub mod limits;
mod reader;
mod values;
mod written;
mod yaml;

// The documents themselves.
mod check;
mod envelope;
mod metadata;
mod probe;
mod service;
mod sli;
mod slo;

// All of them together.
mod diff;
mod document;
mod grid;
mod parse;
mod resolve;

pub use address::{HostPort, Scheme, Url};
pub use check::{AgentSelector, Check};
pub use decimal::PartsPerBillion;
pub use diff::diff;
pub use document::{DocumentKind, Documents};
pub use fault::{Fault, Faults, Slug};
pub use glob::Glob;
pub use grid::Grid;
pub use parse::{Source, parse};
pub use pattern::Pattern;
pub use probe::{
    DnsProbe, FilesExpectation, FilesProbe, HeaderRule, HostProbe, HttpMethod, HttpProbe,
    IpProtocol, Probe, QueryType, Rcode, StatusRange, TcpProbe, TlsOptions, TlsProbe, TlsVersion,
    Transport,
};
pub use service::Service;
pub use sli::{CountedOutcome, Criterion, RatioMetric, Sli};
pub use slo::{Budgeting, Indicator, Slo};
pub use written::{Position, Written};
