//! Memberships and their changes as Raft's own types, and the bytes of a change in an entry.
//!
//! The bytes are those of `eraftpb.ConfChangeV2`, because raft reads them when a leader proposes.
//! Raft's parser only ever sees bytes made here; bytes of a peer are read by [`decode`], which
//! takes exactly what [`encode`] makes and nothing else.

use protobuf::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState};

use super::membership::{Membership, MembershipChange, Part};
use crate::limits::MEMBERS_MAX;

/// A change for raft. Without any: the joint phase ends.
pub(crate) fn of_change(change: &MembershipChange) -> ConfChangeV2 {
    let changes: Vec<ConfChangeSingle> = change.changes.iter().map(single).collect();
    ConfChangeV2 { changes: changes.into(), ..ConfChangeV2::default() }
}

/// The entry's data for a change.
pub(crate) fn encode(change: &MembershipChange) -> Vec<u8> {
    of_change(change).write_to_bytes().expect("memory takes every write")
}

/// The inverse of [`encode`]; `None` for any other bytes.
pub(crate) fn decode(bytes: &[u8]) -> Option<MembershipChange> {
    let mut rest = bytes;
    let mut changes = Vec::new();
    while !rest.is_empty() && changes.len() < MEMBERS_MAX {
        let (tag, after) = rest.split_first()?;
        let (len, after) = after.split_first()?;
        let (body, after) = after.split_at_checked(usize::from(*len))?;
        changes.push(decode_single(body).filter(|_| *tag == TAG_CHANGES)?);
        rest = after;
    }
    let change = MembershipChange { changes };
    // One spelling for each change: what would encode differently is not ours.
    (encode(&change) == bytes).then_some(change)
}

/// `ConfChangeV2.changes`, length-delimited.
const TAG_CHANGES: u8 = 0x12;
/// `ConfChangeSingle.change_type`, a varint; absent when it is 0.
const TAG_TYPE: u8 = 0x08;
/// `ConfChangeSingle.node_id`, a varint.
const TAG_NODE_ID: u8 = 0x10;

fn decode_single(body: &[u8]) -> Option<(u64, Part)> {
    let (part, rest) = match body {
        [TAG_TYPE, code, rest @ ..] => (part_of(*code)?, rest),
        rest => (Part::Voter, rest),
    };
    let (tag, varint) = rest.split_first()?;
    let node_id = proofmark_evidence::ByteReader::new(varint).varint("node_id").ok()?;
    (*tag == TAG_NODE_ID).then_some((node_id, part))
}

fn single((node_id, part): &(u64, Part)) -> ConfChangeSingle {
    let change_type = match part {
        Part::Voter => ConfChangeType::AddNode,
        Part::Learner => ConfChangeType::AddLearnerNode,
        Part::Gone => ConfChangeType::RemoveNode,
    };
    ConfChangeSingle { change_type, node_id: *node_id, ..ConfChangeSingle::default() }
}

fn part_of(code: u8) -> Option<Part> {
    match code {
        1 => Some(Part::Gone),
        2 => Some(Part::Learner),
        _ => None,
    }
}

/// A membership for raft, in ascending order.
pub(crate) fn conf_state_of(membership: &Membership) -> ConfState {
    let ids = |set: &std::collections::BTreeSet<u64>| set.iter().copied().collect::<Vec<u64>>();
    ConfState {
        voters: ids(&membership.voters),
        learners: ids(&membership.learners),
        voters_outgoing: ids(&membership.voters_outgoing),
        learners_next: ids(&membership.learners_next),
        auto_leave: membership.auto_leave,
        ..ConfState::default()
    }
}

/// Raft's own view as ours.
pub(crate) fn membership_of(state: &ConfState) -> Membership {
    Membership {
        voters: state.voters.iter().copied().collect(),
        learners: state.learners.iter().copied().collect(),
        voters_outgoing: state.voters_outgoing.iter().copied().collect(),
        learners_next: state.learners_next.iter().copied().collect(),
        auto_leave: state.auto_leave,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_one_spelling() {
        let parts = [(1, Part::Voter), (300, Part::Learner), (u64::MAX, Part::Gone)];
        for count in 0..=parts.len() {
            let change = MembershipChange { changes: parts[..count].to_vec() };
            let bytes = encode(&change);
            assert_eq!(decode(&bytes), Some(change.clone()), "{bytes:02x?}");
            let parsed = ConfChangeV2::parse_from_bytes(&bytes).unwrap();
            assert_eq!(parsed, of_change(&change), "raft reads the same");
        }
    }

    #[test]
    fn other_bytes_are_no_change() {
        let cases: &[&[u8]] = &[
            &[0x08, 0x01],                         // an explicit transition
            &[0x1a, 0x01, 0x00],                   // a context inside
            &[0x12, 0x02, 0x10],                   // cut off
            &[0x12, 0x04, 0x08, 0x00, 0x10, 0x01], // a default spelled out
            &[0x12, 0x04, 0x08, 0x03, 0x10, 0x01], // no such part
            &[0x12, 0x03, 0x10, 0x81, 0x00],       // a long varint
            &[0x12, 0x00],                         // no node
        ];
        for bytes in cases {
            assert_eq!(decode(bytes), None, "{bytes:02x?}");
        }
    }

    #[test]
    fn a_membership_survives_raft() {
        let membership = Membership {
            voters: [1, 2, 4].into(),
            learners: [6].into(),
            voters_outgoing: [1, 2, 3].into(),
            learners_next: [3].into(),
            auto_leave: true,
        };
        assert_eq!(membership_of(&conf_state_of(&membership)), membership);
    }
}
