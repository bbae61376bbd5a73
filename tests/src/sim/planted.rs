//! Mistakes planted into the simulator's harness, to see that its oracle finds them.
//!
//! Each is made at a seam around the code that ships: between a program and its disk, its clock,
//! its peers or its state. So the code that ships stays as it is.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    AckBeforeCommit,
    AckBeforeFsync,
    AckOfAnotherTerm,
    LostTakenForApplied,
    VoteNotSaved,
    NoDedupe,
    DedupeKeyedWrongly,
    AppliedFromHardState,
    AppliedIndexNotAtomic,
    SavedWithoutDedupe,
    SnapshotWithoutDedupe,
    EffectsLostOnRestart,
    SavedBeforeEvidence,
    TornTakenForCorrupt,
    CorruptTakenForTorn,
    TickDuringInstall,
    LogClearedBeforeSnapshot,
    StaleRead,
    TimeByLocalClock,
    SpoolFreedBeforeAck,
    SequenceReused,
    SpoolNotSynced,
    UnsyncedDirectory,
    CosignBeforeSync,
    LastSignedNotDurable,
    UnknownCountedGood,
    LateResultDropped,
    DoubleCountAfterFailover,
    SyncFaultIgnored,
    SpecAtOnce,
}

/// What a planted mistake is, for people.
struct About {
    planted: Planted,
    slug: &'static str,
    what: &'static str,
}

const ALL: &[About] = &[
    about(
        Planted::AckBeforeCommit,
        "ack_before_commit",
        "the leader answers when it has appended, not when it has applied",
    ),
    about(
        Planted::AckBeforeFsync,
        "ack_before_fsync",
        "the log is called durable when its write has only been handed over",
    ),
    about(
        Planted::AckOfAnotherTerm,
        "ack_of_another_term",
        "who waits at an index is answered whatever entry is committed there",
    ),
    about(
        Planted::LostTakenForApplied,
        "lost_taken_for_applied",
        "a leader that steps down tells those who wait that all went well",
    ),
    about(Planted::VoteNotSaved, "vote_not_saved", "the log forgets whom a node voted for"),
    about(Planted::NoDedupe, "no_dedupe", "a batch that comes again is counted again"),
    about(
        Planted::DedupeKeyedWrongly,
        "dedupe_keyed_wrongly",
        "batches are told apart by their numbers alone, not by their agent",
    ),
    about(
        Planted::AppliedFromHardState,
        "applied_from_hard_state",
        "a restart believes the log's commit index instead of what the state has applied",
    ),
    about(
        Planted::AppliedIndexNotAtomic,
        "applied_index_not_atomic",
        "the saved state's index and its rows are two writes",
    ),
    about(
        Planted::SavedWithoutDedupe,
        "saved_without_dedupe",
        "the saved state does not bring what was heard of the agents",
    ),
    about(
        Planted::SnapshotWithoutDedupe,
        "snapshot_without_dedupe",
        "a snapshot does not bring what was heard of the agents",
    ),
    about(
        Planted::EffectsLostOnRestart,
        "effects_lost_on_restart",
        "entries that are applied again after a start have no effects",
    ),
    about(
        Planted::SavedBeforeEvidence,
        "saved_before_evidence",
        "the state is saved before the leaves it counts are durable, and believed at the start",
    ),
    about(
        Planted::TornTakenForCorrupt,
        "torn_taken_for_corrupt",
        "an unfinished last record keeps a replica from starting",
    ),
    about(
        Planted::CorruptTakenForTorn,
        "corrupt_taken_for_torn",
        "a log with a flipped bit is cut there, as if its end had never been written whole",
    ),
    about(
        Planted::TickDuringInstall,
        "tick_during_install",
        "time goes on for elections while the state is being taken from a snapshot",
    ),
    about(
        Planted::LogClearedBeforeSnapshot,
        "log_cleared_before_snapshot",
        "the log starts over before the snapshot it starts from is durable",
    ),
    about(
        Planted::StaleRead,
        "stale_read",
        "a node answers from what it has, and does not ask whether it is the newest",
    ),
    about(
        Planted::TimeByLocalClock,
        "time_by_local_clock",
        "each replica applies by its own clock and not by the leader's stamp",
    ),
    about(
        Planted::SpoolFreedBeforeAck,
        "spool_freed_before_ack",
        "the agent lets go of a batch when it has sent it",
    ),
    about(
        Planted::SequenceReused,
        "sequence_reused",
        "an agent's start forgets the newest batch of its spool and gives its numbers out again",
    ),
    about(Planted::SpoolNotSynced, "spool_not_synced", "the spool's disk says synced and has not"),
    about(
        Planted::UnsyncedDirectory,
        "unsynced_directory",
        "directories are never synced, so new names can go",
    ),
    about(
        Planted::CosignBeforeSync,
        "cosign_before_sync",
        "a node vouches for leaves that its disk does not have yet",
    ),
    about(
        Planted::LastSignedNotDurable,
        "last_signed_not_durable",
        "what a node signed last is not synced before its signature leaves",
    ),
    about(
        Planted::UnknownCountedGood,
        "unknown_counted_good",
        "a run that could not tell is recorded as passed",
    ),
    about(
        Planted::LateResultDropped,
        "late_result_dropped",
        "a batch that comes late is acknowledged and thrown away",
    ),
    about(
        Planted::DoubleCountAfterFailover,
        "double_count_after_failover",
        "a new leader counts the newest batch of its log once more",
    ),
    about(
        Planted::SyncFaultIgnored,
        "sync_fault_ignored",
        "a failed write of the log is taken for done",
    ),
    about(
        Planted::SpecAtOnce,
        "spec_at_once",
        "an agent takes a new spec at once and not when it takes effect",
    ),
];

const fn about(planted: Planted, slug: &'static str, what: &'static str) -> About {
    About { planted, slug, what }
}

impl Planted {
    pub fn all() -> impl Iterator<Item = Planted> {
        ALL.iter().map(|about| about.planted)
    }

    /// The name on the command line.
    pub fn slug(self) -> &'static str {
        self.about().slug
    }

    /// What is done wrong.
    pub fn what(self) -> &'static str {
        self.about().what
    }

    pub fn parse(slug: &str) -> Option<Planted> {
        ALL.iter().find(|about| about.slug == slug).map(|about| about.planted)
    }

    fn about(self) -> &'static About {
        let found = ALL.iter().find(|about| about.planted == self);
        found.expect("every planted mistake has its line in the table")
    }
}
