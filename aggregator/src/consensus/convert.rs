//! Raft's messages, field by field, to and from our own prost messages.
//!
//! rust-protobuf 2 never parses bytes that came from a network: prost does, with its limits, and
//! what it gives is copied here. Entry data is shared, not copied.

use proofmark_proto::{RaftConfState, RaftEntry, RaftMessage, RaftSnapshot, RaftSnapshotMetadata};
use protobuf::ProtobufEnum as _;
use raft::eraftpb::{
    ConfState, Entry, EntryType, Message, MessageType, Snapshot, SnapshotMetadata,
};

/// Why a peer's message cannot become one of raft's. The peer runs another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertFault {
    #[error("message type {got} is not one of raft's")]
    MessageType { got: u32 },
    #[error("entry type {got} is not one of raft's")]
    EntryType { got: u32 },
    #[error("a snapshot without {what}")]
    Snapshot { what: &'static str },
}

/// To the wire. Raft's bookkeeping for its own serializer stays behind.
pub fn to_wire(message: Message) -> RaftMessage {
    RaftMessage {
        msg_type: message.msg_type.value().unsigned_abs(),
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.entries.into_iter().map(entry_to_wire).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        snapshot: message.snapshot.into_option().map(snapshot_to_wire),
        request_snapshot: message.request_snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context,
        deprecated_priority: message.deprecated_priority,
        priority: message.priority,
    }
}

/// From the wire: every field is one that raft knows, whatever its value; `guard` judges those.
pub fn from_wire(message: RaftMessage) -> Result<Message, ConvertFault> {
    let snapshot = message.snapshot.map(snapshot_from_wire).transpose()?;
    let entries: Result<Vec<Entry>, _> = message.entries.into_iter().map(entry_from_wire).collect();
    Ok(Message {
        msg_type: message_type(message.msg_type)?,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: entries?.into(),
        commit: message.commit,
        commit_term: message.commit_term,
        snapshot: snapshot.into(),
        request_snapshot: message.request_snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context,
        deprecated_priority: message.deprecated_priority,
        priority: message.priority,
        ..Message::default()
    })
}

fn entry_to_wire(entry: Entry) -> RaftEntry {
    RaftEntry {
        entry_type: entry.entry_type.value().unsigned_abs(),
        term: entry.term,
        index: entry.index,
        data: entry.data,
        sync_log: entry.sync_log,
        context: entry.context,
    }
}

fn entry_from_wire(entry: RaftEntry) -> Result<Entry, ConvertFault> {
    Ok(Entry {
        entry_type: entry_type(entry.entry_type)?,
        term: entry.term,
        index: entry.index,
        data: entry.data,
        sync_log: entry.sync_log,
        context: entry.context,
        ..Entry::default()
    })
}

fn snapshot_to_wire(snapshot: Snapshot) -> RaftSnapshot {
    let metadata = snapshot.metadata.unwrap_or_default();
    let state = metadata.conf_state.unwrap_or_default();
    let conf_state = RaftConfState {
        voters: state.voters,
        learners: state.learners,
        voters_outgoing: state.voters_outgoing,
        learners_next: state.learners_next,
        auto_leave: state.auto_leave,
    };
    let (index, term) = (metadata.index, metadata.term);
    let metadata = RaftSnapshotMetadata { conf_state: Some(conf_state), index, term };
    RaftSnapshot { data: snapshot.data, metadata: Some(metadata) }
}

fn snapshot_from_wire(snapshot: RaftSnapshot) -> Result<Snapshot, ConvertFault> {
    let metadata = snapshot.metadata.ok_or(ConvertFault::Snapshot { what: "metadata" })?;
    let state = metadata.conf_state.ok_or(ConvertFault::Snapshot { what: "members" })?;
    let conf_state = ConfState {
        voters: state.voters,
        learners: state.learners,
        voters_outgoing: state.voters_outgoing,
        learners_next: state.learners_next,
        auto_leave: state.auto_leave,
        ..ConfState::default()
    };
    let metadata = SnapshotMetadata {
        conf_state: Some(conf_state).into(),
        index: metadata.index,
        term: metadata.term,
        ..SnapshotMetadata::default()
    };
    let metadata = Some(metadata).into();
    Ok(Snapshot { data: snapshot.data, metadata, ..Snapshot::default() })
}

fn message_type(got: u32) -> Result<MessageType, ConvertFault> {
    let known = i32::try_from(got).ok().and_then(MessageType::from_i32);
    known.ok_or(ConvertFault::MessageType { got })
}

fn entry_type(got: u32) -> Result<EntryType, ConvertFault> {
    let known = i32::try_from(got).ok().and_then(EntryType::from_i32);
    known.ok_or(ConvertFault::EntryType { got })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message as _;

    fn any_entry() -> impl Strategy<Value = Entry> {
        let kinds = prop::sample::select(EntryType::values());
        let bytes = || prop::collection::vec(any::<u8>(), 0..9);
        (kinds, any::<[u64; 2]>(), bytes(), bytes(), any::<bool>()).prop_map(
            |(entry_type, [term, index], data, context, sync_log)| Entry {
                entry_type,
                term,
                index,
                data: data.into(),
                context: context.into(),
                sync_log,
                ..Entry::default()
            },
        )
    }

    fn any_snapshot() -> impl Strategy<Value = Snapshot> {
        let ids = || prop::collection::vec(any::<u64>(), 0..4);
        let data = prop::collection::vec(any::<u8>(), 0..9);
        ([ids(), ids(), ids(), ids()], any::<(u64, u64, bool)>(), data).prop_map(
            |([voters, learners, voters_outgoing, learners_next], (index, term, auto), data)| {
                let conf_state = ConfState {
                    voters,
                    learners,
                    voters_outgoing,
                    learners_next,
                    auto_leave: auto,
                    ..ConfState::default()
                };
                let conf_state = Some(conf_state).into();
                let metadata =
                    SnapshotMetadata { conf_state, index, term, ..SnapshotMetadata::default() };
                let metadata = Some(metadata).into();
                Snapshot { data: data.into(), metadata, ..Snapshot::default() }
            },
        )
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let kinds = prop::sample::select(MessageType::values());
        let entries = prop::collection::vec(any_entry(), 0..4);
        let context = prop::collection::vec(any::<u8>(), 0..9);
        let parts = (kinds, any::<[u64; 10]>(), entries, context, any::<bool>(), any::<i64>());
        (parts, prop::option::of(any_snapshot())).prop_map(
            |((msg_type, n, entries, context, reject, priority), snapshot)| Message {
                snapshot: snapshot.into(),
                msg_type,
                to: n[0],
                from: n[1],
                term: n[2],
                log_term: n[3],
                index: n[4],
                entries: entries.into(),
                commit: n[5],
                commit_term: n[6],
                request_snapshot: n[7],
                reject,
                reject_hint: n[8],
                context: context.into(),
                deprecated_priority: n[9],
                priority,
                ..Message::default()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_message_survives_the_wire(message in any_message()) {
            let bytes = to_wire(message.clone()).encode_to_vec();
            let back = from_wire(RaftMessage::decode(bytes.as_slice()).unwrap()).unwrap();
            prop_assert_eq!(back, message);
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(message) = RaftMessage::decode(bytes.as_slice()) {
                let _ = from_wire(message);
            }
        }
    }

    #[test]
    fn what_this_version_does_not_know_is_refused_by_name() {
        let unknown = RaftMessage { msg_type: 99, ..RaftMessage::default() };
        assert_eq!(from_wire(unknown), Err(ConvertFault::MessageType { got: 99 }));
        let entries = vec![RaftEntry { entry_type: u32::MAX, ..RaftEntry::default() }];
        let unknown = RaftMessage { entries, ..RaftMessage::default() };
        assert_eq!(from_wire(unknown), Err(ConvertFault::EntryType { got: u32::MAX }));
        let snapshot = Some(RaftSnapshot::default());
        let unknown = RaftMessage { snapshot, ..RaftMessage::default() };
        assert_eq!(from_wire(unknown), Err(ConvertFault::Snapshot { what: "metadata" }));
    }
}
