//! The targets, by whose bytes they read.

mod agents; // what agents send and keep: batches, spool
mod auditors; // what a log consists of, as strangers get it
mod members; // what a replica is given that joins or catches up: tokens, snapshots
mod operators; // what people write: specs, configurations, tokens, paths
mod peers; // what replicas send each other: RPCs, commands, outcomes
mod replicas; // what a replica finds on its own disk

use super::Target;

pub fn all() -> Vec<Target> {
    [
        agents::TARGETS,
        auditors::TARGETS,
        members::TARGETS,
        operators::TARGETS,
        peers::TARGETS,
        replicas::TARGETS,
    ]
    .concat()
}
