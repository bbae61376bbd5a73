//! Where a log stands, and what this room knows of a snapshot: where it ends, who the members are
//! there, and a few bytes for those who fetch it. The snapshot itself never passes through here.

use bytes::Bytes;

use super::membership::Membership;

/// A place in the log. Two entries with the same index and term are the same entry, on every node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub index: u64,
    pub term: u64,
}

/// A snapshot of the state as it was when the entry at `position` was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    pub position: Position,
    /// As of `position`.
    pub membership: Membership,
    /// What a follower needs to fetch it and to check what it fetched; opaque here. At most
    /// `limits::SNAPSHOT_DESCRIPTOR_BYTES_MAX`.
    pub descriptor: Bytes,
}

/// The leader has no log any more from where this replica could go on, and offers a snapshot. When
/// all that it names is durable here, `install` takes it; until then the leader offers it again
/// from time to time, or a newer one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotOffer {
    /// Who has it.
    pub from: u64,
    pub meta: SnapshotMeta,
}
