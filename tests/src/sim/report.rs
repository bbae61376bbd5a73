//! What a run was: how long, what went wrong, what came of it.

use std::fmt;

use proofmark_evidence::Hash;

use super::disk::Coverage;

/// How often what went wrong, but for faults of disks: those are in the [`Coverage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub power_cuts: u64,
    pub kills: u64,
    pub agent_crashes: u64,
    pub isolations: u64,
    pub one_way_cuts: u64,
    pub agent_cuts: u64,
    /// Power cuts of all nodes after which their clocks ran away.
    pub rushes: u64,
    pub clock_jumps: u64,
    pub pauses: u64,
    pub slow_disks: u64,
    pub transfers: u64,
    pub spec_changes: u64,
    pub bit_flips: u64,
    /// Starts that a damaged disk made impossible, and operators' repairs.
    pub refused_starts: u64,
    pub repairs: u64,
    pub compactions: u64,
    pub snapshots_installed: u64,
    pub messages_lost: u64,
    pub messages_doubled: u64,
    pub messages_late: u64,
}

impl Faults {
    /// Name and count of each kind.
    pub fn kinds(&self) -> [(&'static str, u64); 20] {
        [
            ("power cuts of nodes", self.power_cuts),
            ("nodes killed", self.kills),
            ("crashes of agents", self.agent_crashes),
            ("nodes cut off", self.isolations),
            ("one-way cuts", self.one_way_cuts),
            ("agents cut off", self.agent_cuts),
            ("power cuts of all nodes at once", self.rushes),
            ("clock jumps", self.clock_jumps),
            ("processes stopped for a while", self.pauses),
            ("slow disks", self.slow_disks),
            ("leaders handed over", self.transfers),
            ("spec changes", self.spec_changes),
            ("bits turned", self.bit_flips),
            ("starts refused for damage", self.refused_starts),
            ("repairs by the operator", self.repairs),
            ("logs compacted", self.compactions),
            ("snapshots installed", self.snapshots_installed),
            ("messages lost", self.messages_lost),
            ("messages doubled", self.messages_doubled),
            ("messages late", self.messages_late),
        ]
    }

    pub fn add(&mut self, other: &Faults) {
        let Faults {
            power_cuts,
            kills,
            agent_crashes,
            isolations,
            one_way_cuts,
            agent_cuts,
            rushes,
            clock_jumps,
            pauses,
            slow_disks,
            transfers,
            spec_changes,
            bit_flips,
            refused_starts,
            repairs,
            compactions,
            snapshots_installed,
            messages_lost,
            messages_doubled,
            messages_late,
        } = other;
        self.power_cuts += power_cuts;
        self.kills += kills;
        self.agent_crashes += agent_crashes;
        self.isolations += isolations;
        self.one_way_cuts += one_way_cuts;
        self.agent_cuts += agent_cuts;
        self.rushes += rushes;
        self.clock_jumps += clock_jumps;
        self.pauses += pauses;
        self.slow_disks += slow_disks;
        self.transfers += transfers;
        self.spec_changes += spec_changes;
        self.bit_flips += bit_flips;
        self.refused_starts += refused_starts;
        self.repairs += repairs;
        self.compactions += compactions;
        self.snapshots_installed += snapshots_installed;
        self.messages_lost += messages_lost;
        self.messages_doubled += messages_doubled;
        self.messages_late += messages_late;
    }
}

/// A run in which everything held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimReport {
    pub seed: u64,
    pub nodes: usize,
    pub virtual_ms: u64,
    pub faults: Faults,
    pub coverage: Coverage,
    pub terms_led: u64,
    pub entries_committed: u64,
    pub acks: u64,
    pub publications: u64,
    pub reads: u64,
    /// Equal for equal runs.
    pub trace_hash: Hash,
    /// The story, if it was asked for.
    pub story: Vec<String>,
}

/// A run in which something did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimFailure {
    pub seed: u64,
    pub at_ms: u64,
    pub what: String,
    pub story: Vec<String>,
}

impl fmt::Display for SimFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} at {} ms: {}", self.seed, self.at_ms, self.what)
    }
}

impl std::error::Error for SimFailure {}
