//! `bench`: what a cluster of three real processes does, beside what three nodes of etcd do on the
//! same machine in the same run.
//!
//! In: a regime (`plan.rs`) or a question (`failover`, `idle`). Out: a plain text table. A figure is
//! honest or it is an error: every replica writes and flushes as always, TLS, evidence and
//! objectives are on, and after the run the log is verified and its results are counted.
//!
//! Linux only: CPU and memory are read from /proc.

mod clock;
mod cpu;
mod enrol;
mod etcd;
mod failover;
mod floor;
mod idle;
mod ingest;
mod ledger;
mod load;
mod memory;
mod overload;
mod plan;
mod published;
mod report;
mod rows;
mod series;
mod stages;

pub use failover::failover;
pub use idle::idle;
pub use ingest::ingest;
pub use overload::overload;
pub use plan::{Plan, Regime, USAGE, parse_one};

const REPLICAS: usize = 3;
