//! The agent port from outside, in one process: the real gateway over real TLS, the real state
//! behind a proposer that needs no Raft.
//!
//! [`refusals`] holds every "no" this port can say, each against its golden file;
//! [`news`] is what it says unasked; [`uplink`] drives the agents' own side against it.

#![expect(clippy::unwrap_used, reason = "in a test's helper a panic is the failure")]

mod bench;
pub(crate) mod client;
mod news;
mod refusals;
mod uplink;
