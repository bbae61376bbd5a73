//! What a peer's message must satisfy before the raft crate sees it.
//!
//! `raft` 0.7 panics on input that its own code could not have produced. A peer is authenticated,
//! but its program may be older, newer, or wrong; such a message is refused here, by name.
//!
//! Who may say what: only members answer. A request may come from any authenticated node of the
//! cluster, because a replica that is behind does not know the newest members yet, and one that
//! joins knows nobody. A removed node's requests do no harm: raft ignores votes asked for while a
//! leader is heard, and the removed one's log is too short to win any.

use raft::eraftpb::{EntryType, Message, MessageType};

use super::conf_change;
use super::driver::{READ_CONTEXT_BYTES, from_raft};
use super::membership::Membership;
use crate::limits::{MEMBERS_MAX, SNAPSHOT_DESCRIPTOR_BYTES_MAX, TERM_JUMP_MAX};

/// What the driver knows when a message arrives.
pub(crate) struct Known<'a> {
    pub(crate) node_id: u64,
    pub(crate) membership: &'a Membership,
    pub(crate) term: u64,
    pub(crate) last_index: u64,
    pub(crate) leads: bool,
}

/// Why a message was not given to raft. All but [`Refused::LogLost`] are the peer's doing: drop
/// the message, count it, go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("message for node {got}, this is node {expected}")]
    WrongNode { expected: u64, got: u64 },
    #[error("message from node {got}, which is not another member")]
    UnknownPeer { got: u64 },
    #[error("message type {got:?} is not taken from peers")]
    Kind { got: MessageType },
    #[error("term {got} cannot follow term {ours}")]
    Term { ours: u64, got: u64 },
    #[error("entries after index {index} of term {term}: only index 0 has term 0")]
    Base { index: u64, term: u64 },
    #[error("entry {expected} of the message has index {got}")]
    EntryIndex { expected: u64, got: u64 },
    #[error("entry at index {index} has term {got}, expected {at_least} to {at_most}")]
    EntryTerm { index: u64, at_least: u64, at_most: u64, got: u64 },
    #[error("entry at index {index} is no change of the membership that a leader here proposes")]
    Change { index: u64 },
    #[error("peer confirms index {got}, this log ends at {last_index}")]
    Unsent { last_index: u64, got: u64 },
    #[error("peer rejects index {index} and points above it, at {hint}")]
    Hint { index: u64, hint: u64 },
    #[error("a snapshot that cannot be: {why}")]
    Snapshot { why: &'static str },
    #[error("a read's name has {expected} bytes, got {got}")]
    Context { expected: usize, got: usize },
    /// The leader knows that this node once held more than it has: its disk lost what it had
    /// confirmed. Going on could lose what the group acknowledged. The node must stop.
    #[error("the leader counts on index {commit}, this log ends at {last_index}: log lost")]
    LogLost { commit: u64, last_index: u64 },
}

impl Refused {
    /// The stable name, as counted in metrics.
    pub fn slug(&self) -> &'static str {
        match self {
            Refused::WrongNode { .. } => "wrong_node",
            Refused::UnknownPeer { .. } => "unknown_peer",
            Refused::Kind { .. } => "message_kind",
            Refused::Term { .. } => "term",
            Refused::Base { .. } => "append_base",
            Refused::EntryIndex { .. } => "entry_index",
            Refused::EntryTerm { .. } => "entry_term",
            Refused::Change { .. } => "membership_change",
            Refused::Unsent { .. } => "confirms_unsent",
            Refused::Hint { .. } => "reject_hint",
            Refused::Snapshot { .. } => "snapshot_meta",
            Refused::Context { .. } => "read_context",
            Refused::LogLost { .. } => "log_lost",
        }
    }
}

/// Checks one message from a peer.
pub(crate) fn check(message: &Message, known: &Known<'_>) -> Result<(), Refused> {
    check_parties(message, known)?;
    check_term(message, known)?;
    match message.get_msg_type() {
        MessageType::MsgAppend => check_entries(message),
        MessageType::MsgAppendResponse => check_confirmation(message, known),
        MessageType::MsgHeartbeat => check_heartbeat(message, known),
        MessageType::MsgHeartbeatResponse => check_heartbeat_context(message),
        MessageType::MsgSnapshot => check_snapshot(message, known),
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp => check_read(message),
        MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse
        // A leader hands over: this node asks for votes at once, as it might on its own.
        | MessageType::MsgTimeoutNow => Ok(()),
        // Proposals travel by our own RPC (the leader alone proposes), and the rest is a node's
        // talk with itself.
        got => Err(Refused::Kind { got }),
    }
}

fn check_parties(message: &Message, known: &Known<'_>) -> Result<(), Refused> {
    if message.to != known.node_id {
        return Err(Refused::WrongNode { expected: known.node_id, got: message.to });
    }
    let got = message.from;
    let may_speak = !is_answer(message) || known.membership.contains(got);
    if got == known.node_id || got == 0 || !may_speak {
        return Err(Refused::UnknownPeer { got });
    }
    Ok(())
}

/// What counts as a member's vote or confirmation.
fn is_answer(message: &Message) -> bool {
    matches!(
        message.get_msg_type(),
        MessageType::MsgAppendResponse
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVoteResponse
            | MessageType::MsgReadIndex
    )
}

fn check_term(message: &Message, known: &Known<'_>) -> Result<(), Refused> {
    let got = message.term;
    let has_term = message.get_msg_type() != MessageType::MsgReadIndex;
    if (got != 0) != has_term || got > known.term.saturating_add(TERM_JUMP_MAX) {
        return Err(Refused::Term { ours: known.term, got });
    }
    Ok(())
}

fn check_entries(message: &Message) -> Result<(), Refused> {
    let mut expected = message.index;
    let mut at_least = message.log_term;
    // Raft takes term 0 for what lies beyond its log, and would find that it matches.
    if (expected == 0) != (at_least == 0) {
        return Err(Refused::Base { index: expected, term: at_least });
    }
    for entry in &message.entries {
        expected = expected.saturating_add(1);
        if entry.index != expected {
            return Err(Refused::EntryIndex { expected, got: entry.index });
        }
        if entry.term < at_least || entry.term > message.term {
            let (index, at_most, got) = (entry.index, message.term, entry.term);
            return Err(Refused::EntryTerm { index, at_least, at_most, got });
        }
        check_kind(entry)?;
        at_least = entry.term;
    }
    Ok(())
}

/// A change of the membership carries what the state decides by; the end of a joint phase, which
/// raft proposes by itself, carries nothing.
fn check_kind(entry: &raft::eraftpb::Entry) -> Result<(), Refused> {
    let is_ours = match entry.get_entry_type() {
        EntryType::EntryNormal => entry.context.is_empty(),
        EntryType::EntryConfChange => false,
        EntryType::EntryConfChangeV2 => {
            let change = conf_change::decode(&entry.data);
            change.is_some_and(|change| change.changes.is_empty() == entry.context.is_empty())
        }
    };
    is_ours.then_some(()).ok_or(Refused::Change { index: entry.index })
}

fn check_confirmation(message: &Message, known: &Known<'_>) -> Result<(), Refused> {
    if message.request_snapshot != 0 {
        return Err(Refused::Kind { got: MessageType::MsgSnapshot });
    }
    if message.reject && message.reject_hint > message.index {
        let (index, hint) = (message.index, message.reject_hint);
        return Err(Refused::Hint { index, hint });
    }
    // Only to a leader of this very term. Others ignore it, and may see it honestly: a leader that
    // lost power before its own flush has sent what it no longer has.
    let counts = known.leads && message.term >= known.term && !message.reject;
    if counts && message.index > known.last_index {
        let (last_index, got) = (known.last_index, message.index);
        return Err(Refused::Unsent { last_index, got });
    }
    Ok(())
}

/// A leader's heartbeat carries no more than this node has confirmed to it as durable: a learner
/// that has confirmed nothing yet hears 0, one whose disk was wiped hears what it has lost.
///
/// It also finds the one damage that looks like a crash: a log whose last record rotted was cut
/// there at start-up (`log_store`), below what was confirmed.
fn check_heartbeat(message: &Message, known: &Known<'_>) -> Result<(), Refused> {
    if message.term >= known.term && message.commit > known.last_index {
        let (commit, last_index) = (message.commit, known.last_index);
        return Err(Refused::LogLost { commit, last_index });
    }
    check_heartbeat_context(message)
}

/// Empty, or the read that it confirms.
fn check_heartbeat_context(message: &Message) -> Result<(), Refused> {
    match message.context.len() {
        0 => Ok(()),
        got => check_context(got),
    }
}

fn check_read(message: &Message) -> Result<(), Refused> {
    match message.get_entries() {
        [entry] if entry.context.is_empty() => check_context(entry.data.len()),
        other => Err(Refused::Context { expected: READ_CONTEXT_BYTES, got: other.len() }),
    }
}

fn check_context(got: usize) -> Result<(), Refused> {
    let expected = READ_CONTEXT_BYTES;
    if got == expected { Ok(()) } else { Err(Refused::Context { expected, got }) }
}

fn check_snapshot(message: &Message, known: &Known<'_>) -> Result<(), Refused> {
    let meta = from_raft(message.get_snapshot());
    let position = meta.position;
    let has_place = position.index > 0 && position.term > 0 && position.term <= message.term;
    let faults = [
        (!has_place, "its position"),
        (!meta.membership.is_whole(), "its membership"),
        (meta.membership.members().len() > MEMBERS_MAX, "too many members"),
        (!meta.membership.contains(known.node_id), "made before this node was a member"),
        (meta.descriptor.len() > SNAPSHOT_DESCRIPTOR_BYTES_MAX, "a descriptor too long"),
    ];
    match faults.iter().find(|(is_so, _)| *is_so) {
        Some((_, why)) => Err(Refused::Snapshot { why }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::Entry;

    type IndexTermType = (u64, u64, EntryType);

    /// Node 1 of three voters and one learner.
    fn members() -> Membership {
        Membership { learners: [4].into(), ..Membership::of_voters([1, 2, 3]) }
    }

    fn known(membership: &Membership) -> Known<'_> {
        Known { node_id: 1, membership, term: 5, last_index: 9, leads: true }
    }

    fn message(kind: MessageType) -> Message {
        Message { msg_type: kind, to: 1, from: 2, term: 5, ..Message::default() }
    }

    fn entry(index: u64, term: u64, kind: EntryType) -> Entry {
        Entry { index, term, entry_type: kind, ..Entry::default() }
    }

    fn check_slug(change: impl FnOnce(&mut Message), kind: MessageType, expect: &str) {
        let mut message = message(kind);
        change(&mut message);
        let slug =
            check(&message, &known(&members())).map_or_else(|refused| refused.slug(), |()| "taken");
        assert_eq!(slug, expect, "{message:?}");
    }

    #[test]
    fn a_message_comes_from_another_node_to_this_one_in_a_real_term() {
        let kind = MessageType::MsgHeartbeat;
        check_slug(|_| (), kind, "taken");
        check_slug(|m| m.to = 2, kind, "wrong_node");
        check_slug(|m| m.from = 1, kind, "unknown_peer");
        check_slug(|m| m.from = 0, kind, "unknown_peer");
        check_slug(|m| m.term = 0, kind, "term");
        check_slug(|m| m.term = u64::MAX, kind, "term");
    }

    #[test]
    fn whom_this_node_does_not_know_may_ask_and_lead_but_not_answer() {
        let asks = [
            MessageType::MsgAppend,
            MessageType::MsgHeartbeat,
            MessageType::MsgRequestVote,
            MessageType::MsgRequestPreVote,
            MessageType::MsgTimeoutNow,
        ];
        let answers = [
            MessageType::MsgAppendResponse,
            MessageType::MsgHeartbeatResponse,
            MessageType::MsgRequestVoteResponse,
            MessageType::MsgRequestPreVoteResponse,
        ];
        asks.iter().for_each(|kind| check_slug(|m| m.from = 7, *kind, "taken"));
        answers.iter().for_each(|kind| check_slug(|m| m.from = 7, *kind, "unknown_peer"));
        answers.iter().for_each(|kind| check_slug(|m| m.from = 4, *kind, "taken"));
    }

    #[test]
    fn local_and_forwarded_messages_are_refused_by_name() {
        for kind in [
            MessageType::MsgHup,
            MessageType::MsgBeat,
            MessageType::MsgPropose,
            MessageType::MsgUnreachable,
            MessageType::MsgSnapStatus,
            MessageType::MsgCheckQuorum,
            MessageType::MsgTransferLeader,
        ] {
            check_slug(|_| (), kind, "message_kind");
        }
    }

    #[test]
    fn a_read_has_one_name_of_the_right_length() {
        let named = |bytes: usize| Entry { data: vec![0; bytes].into(), ..Entry::default() };
        let ask =
            |names: Vec<Entry>| move |m: &mut Message| (m.term, m.entries) = (0, names.into());
        let kind = MessageType::MsgReadIndex;
        check_slug(ask(vec![named(24)]), kind, "taken");
        check_slug(ask(vec![named(23)]), kind, "read_context");
        check_slug(ask(vec![]), kind, "read_context");
        check_slug(ask(vec![named(24), named(24)]), kind, "read_context");
        check_slug(|m| m.entries = vec![named(24)].into(), kind, "term");
        let unknown = |m: &mut Message| (m.from, m.term) = (7, 0);
        check_slug(unknown, kind, "unknown_peer");
        let answer = |m: &mut Message| m.entries = vec![named(24)].into();
        check_slug(answer, MessageType::MsgReadIndexResp, "taken");
        for kind in [MessageType::MsgHeartbeat, MessageType::MsgHeartbeatResponse] {
            check_slug(|m| m.context = vec![0; 24].into(), kind, "taken");
            check_slug(|m| m.context = vec![0; 2_400].into(), kind, "read_context");
        }
    }

    #[test]
    fn a_snapshot_must_be_one_that_this_node_can_become() {
        use crate::consensus::driver::to_raft;
        use crate::consensus::snapshot::{Position, SnapshotMeta};
        let good = SnapshotMeta {
            position: Position { index: 40, term: 5 },
            membership: members(),
            descriptor: vec![0; 100].into(),
        };
        let check = |change: &dyn Fn(&mut SnapshotMeta), expect| {
            let mut meta = good.clone();
            change(&mut meta);
            let fill = |m: &mut Message| m.snapshot = Some(to_raft(&meta)).into();
            check_slug(fill, MessageType::MsgSnapshot, expect);
        };
        check(&|_| (), "taken");
        check(&|meta| meta.position.index = 0, "snapshot_meta");
        check(&|meta| meta.position.term = 0, "snapshot_meta");
        check(&|meta| meta.position.term = 6, "snapshot_meta");
        check(&|meta| meta.membership.auto_leave = true, "snapshot_meta");
        check(&|meta| meta.membership = Membership::of_voters([2, 3]), "snapshot_meta");
        check(&|meta| meta.membership = Membership::of_voters(1..99), "snapshot_meta");
        check(&|meta| meta.descriptor = vec![0; 4_097].into(), "snapshot_meta");
        check_slug(|_| (), MessageType::MsgSnapshot, "snapshot_meta");
    }

    #[test]
    fn a_change_of_the_membership_is_one_that_a_leader_here_proposes() {
        use crate::consensus::membership::{MembershipChange, Part};
        let add = conf_change::encode(&MembershipChange::one(4, Part::Learner));
        let cases: &[(EntryType, &[u8], &[u8], &str)] = &[
            (EntryType::EntryConfChangeV2, &add, b"command", "taken"),
            (EntryType::EntryConfChangeV2, b"", b"", "taken"),
            (EntryType::EntryConfChangeV2, &add, b"", "membership_change"),
            (EntryType::EntryConfChangeV2, b"", b"command", "membership_change"),
            (EntryType::EntryConfChangeV2, b"\x08\x01", b"command", "membership_change"),
            (EntryType::EntryConfChange, &add, b"command", "membership_change"),
            (EntryType::EntryNormal, b"data", b"command", "membership_change"),
        ];
        for (kind, data, context, expect) in cases {
            let fill = |m: &mut Message| {
                let mut entry = entry(8, 5, *kind);
                (entry.data, entry.context) = (data.to_vec().into(), context.to_vec().into());
                (m.index, m.log_term, m.entries) = (7, 4, vec![entry].into());
            };
            check_slug(fill, MessageType::MsgAppend, expect);
        }
    }

    #[test]
    fn appended_entries_follow_each_other() {
        use EntryType::EntryNormal;
        let cases: &[(&[IndexTermType], &str)] = &[
            (&[], "taken"),
            (&[(8, 4, EntryNormal), (9, 5, EntryNormal)], "taken"),
            (&[(9, 4, EntryNormal)], "entry_index"),
            (&[(8, 4, EntryNormal), (8, 4, EntryNormal)], "entry_index"),
            (&[(8, 3, EntryNormal)], "entry_term"),
            (&[(8, 6, EntryNormal)], "entry_term"),
            (&[(8, 5, EntryNormal), (9, 4, EntryNormal)], "entry_term"),
        ];
        for (entries, expect) in cases {
            let fill = |m: &mut Message| {
                (m.index, m.log_term) = (7, 4);
                m.entries =
                    entries.iter().map(|(index, term, kind)| entry(*index, *term, *kind)).collect();
            };
            check_slug(fill, MessageType::MsgAppend, expect);
        }
        check_slug(|m| (m.index, m.log_term) = (0, 0), MessageType::MsgAppend, "taken");
        check_slug(|m| (m.index, m.log_term) = (100, 0), MessageType::MsgAppend, "append_base");
        check_slug(|m| (m.index, m.log_term) = (0, 1), MessageType::MsgAppend, "append_base");
    }

    #[test]
    fn nobody_confirms_what_was_never_sent() {
        let kind = MessageType::MsgAppendResponse;
        check_slug(|m| m.index = 9, kind, "taken");
        check_slug(|m| m.index = 10, kind, "confirms_unsent");
        check_slug(|m| (m.index, m.reject) = (10, true), kind, "taken");
        check_slug(|m| (m.index, m.term) = (10, 4), kind, "taken");
        check_slug(|m| m.request_snapshot = 3, kind, "message_kind");
        check_slug(|m| (m.index, m.reject, m.reject_hint) = (8, true, 8), kind, "taken");
        check_slug(|m| (m.index, m.reject, m.reject_hint) = (8, true, 9), kind, "reject_hint");
        let members = members();
        let follower = Known { leads: false, ..known(&members) };
        let late = Message { index: 10, ..message(kind) };
        assert_eq!(check(&late, &follower), Ok(()));
    }

    #[test]
    fn a_node_whose_disk_forgot_finds_out() {
        let kind = MessageType::MsgHeartbeat;
        check_slug(|m| m.commit = 9, kind, "taken");
        check_slug(|m| m.commit = 10, kind, "log_lost");
        // A learner that joins has confirmed nothing: its leader says 0, whatever is committed.
        let members = members();
        let empty = Known { last_index: 0, leads: false, ..known(&members) };
        assert_eq!(check(&message(kind), &empty), Ok(()));
        // An old leader's words decide nothing.
        check_slug(|m| (m.commit, m.term) = (10, 4), kind, "taken");
    }
}
