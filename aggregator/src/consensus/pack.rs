//! Group commit: what waits while a flush runs becomes one entry.

use std::collections::VecDeque;

use bytes::Bytes;

use super::ProposalOutcome;
use super::inbox::Proposal;
use crate::command::Entry;
use crate::limits::{ENTRY_COMMANDS_BYTES_MAX, ENTRY_COMMANDS_MAX};

/// Proposals waiting to be packed, and the newest stamp given. Owned by the raft thread.
#[derive(Default)]
pub(crate) struct Packer {
    waiting: VecDeque<Proposal>,
    waiting_bytes: usize,
    stamped_at_ms: u64,
}

impl Packer {
    pub(crate) fn push(&mut self, proposals: VecDeque<Proposal>) {
        self.waiting_bytes += proposals.iter().map(|p| p.command.len()).sum::<usize>();
        self.waiting.extend(proposals);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a whole entry is there, so that waiting longer gains nothing.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= ENTRY_COMMANDS_MAX || self.waiting_bytes >= ENTRY_COMMANDS_BYTES_MAX
    }

    /// The next entry, stamped, and who waits for its commands, in their order.
    pub(crate) fn pack(&mut self, now_ms: u64) -> (Bytes, Vec<Proposal>) {
        // Wall clocks step back; what this leader says does not.
        self.stamped_at_ms = self.stamped_at_ms.max(now_ms);
        let mut proposals = self.next_proposals();
        let commands: Vec<Vec<u8>> =
            proposals.iter_mut().map(|proposal| std::mem::take(&mut proposal.command)).collect();
        (Entry::pack(self.stamped_at_ms, &commands).into(), proposals)
    }

    /// One command alone, stamped.
    pub(crate) fn pack_one(&mut self, now_ms: u64, command: Vec<u8>) -> Bytes {
        self.stamped_at_ms = self.stamped_at_ms.max(now_ms);
        Entry::pack(self.stamped_at_ms, &[command]).into()
    }

    /// Answers everything that waits.
    pub(crate) fn refuse_all(&mut self, outcome: &ProposalOutcome) {
        self.waiting_bytes = 0;
        for proposal in self.waiting.drain(..) {
            proposal.answer(outcome.clone());
        }
    }

    fn next_proposals(&mut self) -> Vec<Proposal> {
        let mut bytes = 0;
        let fits = |proposal: &&Proposal| {
            bytes += proposal.command.len();
            bytes <= ENTRY_COMMANDS_BYTES_MAX
        };
        let count = self.waiting.iter().take(ENTRY_COMMANDS_MAX).take_while(fits).count().max(1);
        let taken: Vec<Proposal> = self.waiting.drain(..count.min(self.waiting.len())).collect();
        self.waiting_bytes -= taken.iter().map(|p| p.command.len()).sum::<usize>();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::consensus::budget::Budget;
    use tokio::sync::oneshot;

    fn proposals(sizes: &[usize]) -> VecDeque<Proposal> {
        let budget = Budget::new(usize::MAX, usize::MAX, Default::default());
        let proposal = |size: &usize| Proposal {
            command: vec![0; *size],
            reply: oneshot::channel().0,
            permit: budget.admit(*size).unwrap(),
        };
        sizes.iter().map(proposal).collect()
    }

    fn check(sizes: &[usize], expect: &[usize]) {
        let mut packer = Packer::default();
        packer.push(proposals(sizes));
        let mut packed = Vec::new();
        while !packer.is_empty() {
            packed.push(packer.pack(0).1.len());
        }
        assert_eq!(packed, expect, "{} proposals", sizes.len());
        assert_eq!(packer.waiting_bytes, 0);
    }

    #[test]
    fn an_entry_is_full_by_count_or_by_bytes() {
        const MIB: usize = ENTRY_COMMANDS_BYTES_MAX;
        check(&[10, 10, 10], &[3]);
        check(&[1; 2_500], &[1_024, 1_024, 452]);
        check(&[MIB / 2, MIB / 2, 1], &[2, 1]);
        check(&[MIB, 1, MIB], &[1, 1, 1]);
    }

    #[test]
    fn stamps_never_go_back_and_commands_keep_their_order() {
        let mut packer = Packer::default();
        let mut stamp_at = |now_ms| {
            let mut tick = proposals(&[0]);
            tick[0].command = Command::Tick.encode();
            packer.push(tick);
            Entry::decode(&packer.pack(now_ms).0).unwrap().stamped_at_ms
        };
        assert_eq!([stamp_at(5), stamp_at(3), stamp_at(9)], [5, 5, 9]);
    }
}
