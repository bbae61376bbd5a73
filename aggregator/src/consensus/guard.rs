//! What a peer's message must satisfy before the raft crate sees it.
//!
//! `raft` 0.7 panics on input that its own code could not have produced. A peer is authenticated,
//! but its program may be older, newer, or wrong; such a message is refused here, by name.

use raft::eraftpb::{EntryType, Message, MessageType};

use crate::limits::TERM_JUMP_MAX;

/// What the driver knows when a message arrives.
pub(crate) struct Known<'a> {
    pub(crate) node_id: u64,
    pub(crate) voters: &'a [u64],
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
    #[error("message from node {got}, which is not another voter")]
    UnknownPeer { got: u64 },
    #[error("message type {got:?} is not taken from peers")]
    Kind { got: MessageType },
    #[error("term {got} cannot follow term {ours}")]
    Term { ours: u64, got: u64 },
    #[error("entry {expected} of the message has index {got}")]
    EntryIndex { expected: u64, got: u64 },
    #[error("entry at index {index} has term {got}, expected {at_least} to {at_most}")]
    EntryTerm { index: u64, at_least: u64, at_most: u64, got: u64 },
    #[error("entry at index {index} changes the membership, which is static")]
    Membership { index: u64 },
    #[error("peer confirms index {got}, this log ends at {last_index}")]
    Unsent { last_index: u64, got: u64 },
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
            Refused::EntryIndex { .. } => "entry_index",
            Refused::EntryTerm { .. } => "entry_term",
            Refused::Membership { .. } => "membership_static",
            Refused::Unsent { .. } => "confirms_unsent",
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
        MessageType::MsgHeartbeatResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse
        // A leader hands over: this node asks for votes at once, as it might on its own.
        | MessageType::MsgTimeoutNow => Ok(()),
        // Proposals travel by our own RPC (the leader alone proposes), the log is never compacted
        // (so no snapshot exists), and the rest is a node's talk with itself.
        got => Err(Refused::Kind { got }),
    }
}

fn check_parties(message: &Message, known: &Known<'_>) -> Result<(), Refused> {
    if message.to != known.node_id {
        return Err(Refused::WrongNode { expected: known.node_id, got: message.to });
    }
    if message.from == known.node_id || !known.voters.contains(&message.from) {
        return Err(Refused::UnknownPeer { got: message.from });
    }
    Ok(())
}

fn check_term(message: &Message, known: &Known<'_>) -> Result<(), Refused> {
    let got = message.term;
    if got == 0 || got > known.term.saturating_add(TERM_JUMP_MAX) {
        return Err(Refused::Term { ours: known.term, got });
    }
    Ok(())
}

fn check_entries(message: &Message) -> Result<(), Refused> {
    let mut expected = message.index;
    let mut at_least = message.log_term;
    for entry in &message.entries {
        expected = expected.saturating_add(1);
        if entry.index != expected {
            return Err(Refused::EntryIndex { expected, got: entry.index });
        }
        if entry.term < at_least || entry.term > message.term {
            let (index, at_most, got) = (entry.index, message.term, entry.term);
            return Err(Refused::EntryTerm { index, at_least, at_most, got });
        }
        if entry.get_entry_type() != EntryType::EntryNormal {
            return Err(Refused::Membership { index: entry.index });
        }
        at_least = entry.term;
    }
    Ok(())
}

fn check_confirmation(message: &Message, known: &Known<'_>) -> Result<(), Refused> {
    if message.request_snapshot != 0 {
        return Err(Refused::Kind { got: MessageType::MsgSnapshot });
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

/// A leader's heartbeat carries no more than this node has confirmed as durable.
fn check_heartbeat(message: &Message, known: &Known<'_>) -> Result<(), Refused> {
    if message.term >= known.term && message.commit > known.last_index {
        let (commit, last_index) = (message.commit, known.last_index);
        return Err(Refused::LogLost { commit, last_index });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::Entry;

    type IndexTermType = (u64, u64, EntryType);

    const KNOWN: Known<'static> =
        Known { node_id: 1, voters: &[1, 2, 3], term: 5, last_index: 9, leads: true };

    fn message(kind: MessageType) -> Message {
        Message { msg_type: kind, to: 1, from: 2, term: 5, ..Message::default() }
    }

    fn entry(index: u64, term: u64, kind: EntryType) -> Entry {
        Entry { index, term, entry_type: kind, ..Entry::default() }
    }

    fn check_slug(change: impl FnOnce(&mut Message), kind: MessageType, expect: &str) {
        let mut message = message(kind);
        change(&mut message);
        let slug = check(&message, &KNOWN).map_or_else(|refused| refused.slug(), |()| "taken");
        assert_eq!(slug, expect, "{message:?}");
    }

    #[test]
    fn a_message_must_come_from_another_voter_to_this_node_in_a_real_term() {
        let kind = MessageType::MsgHeartbeat;
        check_slug(|_| (), kind, "taken");
        check_slug(|m| m.to = 2, kind, "wrong_node");
        check_slug(|m| m.from = 1, kind, "unknown_peer");
        check_slug(|m| m.from = 4, kind, "unknown_peer");
        check_slug(|m| m.from = 0, kind, "unknown_peer");
        check_slug(|m| m.term = 0, kind, "term");
        check_slug(|m| m.term = u64::MAX, kind, "term");
    }

    #[test]
    fn local_forwarded_and_snapshot_messages_are_refused_by_name() {
        for kind in [
            MessageType::MsgHup,
            MessageType::MsgBeat,
            MessageType::MsgPropose,
            MessageType::MsgSnapshot,
            MessageType::MsgUnreachable,
            MessageType::MsgSnapStatus,
            MessageType::MsgCheckQuorum,
            MessageType::MsgTransferLeader,
            MessageType::MsgReadIndex,
            MessageType::MsgReadIndexResp,
        ] {
            check_slug(|_| (), kind, "message_kind");
        }
    }

    #[test]
    fn appended_entries_follow_each_other() {
        use EntryType::{EntryConfChange, EntryConfChangeV2, EntryNormal};
        let cases: &[(&[IndexTermType], &str)] = &[
            (&[], "taken"),
            (&[(8, 4, EntryNormal), (9, 5, EntryNormal)], "taken"),
            (&[(9, 4, EntryNormal)], "entry_index"),
            (&[(8, 4, EntryNormal), (8, 4, EntryNormal)], "entry_index"),
            (&[(8, 3, EntryNormal)], "entry_term"),
            (&[(8, 6, EntryNormal)], "entry_term"),
            (&[(8, 5, EntryNormal), (9, 4, EntryNormal)], "entry_term"),
            (&[(8, 4, EntryConfChange)], "membership_static"),
            (&[(8, 4, EntryConfChangeV2)], "membership_static"),
        ];
        for (entries, expect) in cases {
            let fill = |m: &mut Message| {
                (m.index, m.log_term) = (7, 4);
                m.entries =
                    entries.iter().map(|(index, term, kind)| entry(*index, *term, *kind)).collect();
            };
            check_slug(fill, MessageType::MsgAppend, expect);
        }
    }

    #[test]
    fn nobody_confirms_what_was_never_sent() {
        let kind = MessageType::MsgAppendResponse;
        check_slug(|m| m.index = 9, kind, "taken");
        check_slug(|m| m.index = 10, kind, "confirms_unsent");
        check_slug(|m| (m.index, m.reject) = (10, true), kind, "taken");
        check_slug(|m| (m.index, m.term) = (10, 4), kind, "taken");
        check_slug(|m| m.request_snapshot = 3, kind, "message_kind");
        let follower = Known { leads: false, ..KNOWN };
        let late = Message { index: 10, ..message(kind) };
        assert_eq!(check(&late, &follower), Ok(()));
    }

    #[test]
    fn a_node_whose_disk_forgot_finds_out() {
        let kind = MessageType::MsgHeartbeat;
        check_slug(|m| m.commit = 9, kind, "taken");
        check_slug(|m| m.commit = 10, kind, "log_lost");
        // An old leader's words decide nothing.
        check_slug(|m| (m.commit, m.term) = (10, 4), kind, "taken");
    }
}
