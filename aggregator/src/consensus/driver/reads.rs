//! Linearizable reads by read index: the leader asks a majority whether it still leads.

use raft::ReadState;

use super::super::storage::LogSource;
use super::{Driver, Read};
use crate::limits::READS_PENDING_MAX;

/// What names one read of one life of one node, in every message about it: node id, life, token.
pub(crate) const READ_CONTEXT_BYTES: usize = 24;

impl<S: LogSource> Driver<S> {
    /// Asks for the index that a state must have applied to be read as of now. The answer comes in
    /// an output, or never: raft drops the question in silence when no leader is known, when the
    /// leader has not committed anything in its term yet, and with every lost message. Ask again,
    /// with another token.
    pub fn read_index(&mut self, token: u64) {
        let parts = [self.raw.raft.id, self.jitter_seed, token];
        self.raw.read_index(parts.map(u64::to_be_bytes).concat());
    }

    /// Whether this leader has enough to ask a majority about.
    pub(super) fn has_too_many_reads(&self) -> bool {
        self.raw.raft.pending_read_count() >= READS_PENDING_MAX
    }

    /// Answers of this life: an earlier one may have asked with the same token.
    pub(super) fn reads_of(&self, states: Vec<ReadState>) -> Vec<Read> {
        let own = [self.raw.raft.id, self.jitter_seed].map(u64::to_be_bytes).concat();
        let read = |state: ReadState| {
            let token = state.request_ctx.strip_prefix(own.as_slice())?;
            let token = u64::from_be_bytes(token.try_into().ok()?);
            Some(Read { token, index: state.index })
        };
        states.into_iter().filter_map(read).collect()
    }
}
