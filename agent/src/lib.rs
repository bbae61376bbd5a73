//! The agent: looks at things on time, signs what it saw, and does not let go of it before an
//! aggregator has it.
//!
//! In:  specs from an aggregator, the clock, and whatever the checks look at.
//! Out: sealed batches of results, in an unbroken chain of sequence numbers.
//! The agent never judges an objective, never retries a check, never drops a result silently, and
//! knows nothing of what goes on inside an aggregator. Start at [`run`]; the way of one result is
//! the order of the modules.

pub mod clock; // the only place that asks for the time
pub mod config; // YAML to a valid Config, or every fault
pub mod limits;

pub mod identity; // who this agent is
pub mod schedule; // when what is due
pub mod specs; // what is to be checked, kept for starts without an aggregator

mod batcher; // results to batch drafts
mod checks; // one look at one thing
pub mod spool; // sealed batches, durable
pub mod uplink; // and away

mod admin; // /healthz and /metrics
mod agent; // the loop that moves it all
pub mod fsck; // a stopped agent's directory, judged
mod metrics;

#[cfg(test)]
mod tests;

pub use agent::core;
pub use agent::{AgentFault, Found, run};
pub use checks::{Observation, run_check_once};
pub use clock::Clock;
pub use config::{Config, JoinToken, LogFormat};
pub use identity::{pinned_tls, wrong_ca};
pub use metrics::Metrics;
pub use uplink::connect;
