//! Code sites: where in the life of which file a disk can fail, by name.

/// Which file it is, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    RaftLog,
    Tables,
    Guard,
    Snapshot,
    Scratch,
    Checkpoint,
    Leaves,
    Tiles,
    Payloads,
    Spool,
    Specs,
    /// The data directory itself, and what lies in it only once.
    Home,
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    Create,
    Write,
    Sync,
    Cut,
    Rename,
    Remove,
    MakeDir,
    SyncDir,
    /// Nothing: it only lies there.
    Rest,
}

/// A place where a fault can hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    pub class: Class,
    pub op: Op,
}

/// What can go wrong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Power fails, and the operation did nothing.
    CrashBefore,
    /// Power fails, and the operation did all it promises.
    CrashAfter,
    /// Power fails in the middle of a write, or between it and its sync.
    Torn,
    /// The process is killed before it; the machine runs on, and with it what was not synced.
    KillBefore,
    /// The process is killed after it.
    KillAfter,
    NoSpace,
    SyncFailed,
    BitFlip,
    Slow,
}

impl Class {
    pub const ALL: [Class; 12] = [
        Class::RaftLog,
        Class::Tables,
        Class::Guard,
        Class::Snapshot,
        Class::Scratch,
        Class::Checkpoint,
        Class::Leaves,
        Class::Tiles,
        Class::Payloads,
        Class::Spool,
        Class::Specs,
        Class::Home,
    ];

    pub(super) fn of(path: &str) -> Class {
        let begins: [(&str, Class); 12] = [
            ("raft", Class::RaftLog),
            ("tables", Class::Tables),
            ("last_signed", Class::Guard),
            ("snapshots", Class::Snapshot),
            ("evidence/tmp", Class::Scratch),
            ("evidence/checkpoint", Class::Checkpoint),
            ("evidence/tile/entries", Class::Leaves),
            ("evidence/tile", Class::Tiles),
            ("evidence/payload", Class::Payloads),
            ("evidence", Class::Home),
            ("spool", Class::Spool),
            ("specs", Class::Specs),
        ];
        let found = begins.into_iter().find(|(begin, _)| path.starts_with(begin));
        found.map_or(Class::Home, |(_, class)| class)
    }

    pub fn slug(self) -> &'static str {
        match self {
            Class::RaftLog => "raft_log",
            Class::Tables => "tables",
            Class::Guard => "last_signed",
            Class::Snapshot => "snapshot",
            Class::Scratch => "evidence_scratch",
            Class::Checkpoint => "checkpoint",
            Class::Leaves => "leaves",
            Class::Tiles => "tiles",
            Class::Payloads => "payloads",
            Class::Spool => "spool",
            Class::Specs => "specs",
            Class::Home => "data_dir",
        }
    }
}

impl Op {
    pub const ALL: [Op; 9] = [
        Op::Create,
        Op::Write,
        Op::Sync,
        Op::Cut,
        Op::Rename,
        Op::Remove,
        Op::MakeDir,
        Op::SyncDir,
        Op::Rest,
    ];

    pub fn slug(self) -> &'static str {
        match self {
            Op::Create => "create",
            Op::Write => "write",
            Op::Sync => "sync",
            Op::Cut => "cut",
            Op::Rename => "rename",
            Op::Remove => "remove",
            Op::MakeDir => "make_dir",
            Op::SyncDir => "sync_dir",
            Op::Rest => "at_rest",
        }
    }

    /// What can go wrong while a program does this.
    pub fn faults(self) -> &'static [Fault] {
        use Fault::{
            BitFlip, CrashAfter, CrashBefore, KillAfter, KillBefore, NoSpace, SyncFailed, Torn,
        };
        match self {
            Op::Write => &[CrashBefore, Torn, KillBefore, KillAfter, NoSpace],
            Op::Sync => &[CrashBefore, CrashAfter, KillBefore, KillAfter, SyncFailed],
            Op::Create => &[CrashBefore, CrashAfter, KillBefore, KillAfter, NoSpace],
            Op::SyncDir => &[CrashBefore, CrashAfter, KillBefore, KillAfter, SyncFailed],
            Op::Cut | Op::Rename | Op::Remove | Op::MakeDir => {
                &[CrashBefore, CrashAfter, KillBefore, KillAfter]
            }
            Op::Rest => &[BitFlip],
        }
    }
}

impl Fault {
    pub const ALL: [Fault; 9] = [
        Fault::CrashBefore,
        Fault::CrashAfter,
        Fault::Torn,
        Fault::KillBefore,
        Fault::KillAfter,
        Fault::NoSpace,
        Fault::SyncFailed,
        Fault::BitFlip,
        Fault::Slow,
    ];

    pub fn slug(self) -> &'static str {
        match self {
            Fault::CrashBefore => "power_cut_before",
            Fault::CrashAfter => "power_cut_after",
            Fault::Torn => "torn_write",
            Fault::KillBefore => "kill_before",
            Fault::KillAfter => "kill_after",
            Fault::NoSpace => "disk_full",
            Fault::SyncFailed => "sync_failed",
            Fault::BitFlip => "bit_flip",
            Fault::Slow => "slow",
        }
    }

    /// Whether power is gone with it, or only the process.
    pub(super) fn cuts_power(self) -> bool {
        // Who meets a failed sync reboots: what the page cache says is worth nothing any more.
        matches!(self, Fault::CrashBefore | Fault::CrashAfter | Fault::Torn | Fault::SyncFailed)
    }
}

impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.class.slug(), self.op.slug())
    }
}
