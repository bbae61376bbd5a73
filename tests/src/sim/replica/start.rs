//! A replica's first day, and every start after it: what the disk holds, opened in the order in
//! which it is believed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use proofmark_aggregator::catchup::CatchUp;
use proofmark_aggregator::clock::Clock;
use proofmark_aggregator::consensus::Membership;
use proofmark_aggregator::consensus::driver::{Driver, DriverConfig};
use proofmark_aggregator::recorder::{Core, Health, LeafIndex, RecorderParts, SignedFile};
use proofmark_aggregator::snapshot::SnapshotStore;
use proofmark_aggregator::tables::TablesFault;
use proofmark_evidence::{BatchSpan, LogWriter};

use super::machine::{Machine, Mutant};
use super::requests::Waiting;
use super::snapshots::Beside;
use super::{Replica, Up, log};
use crate::sim::Planted;
use crate::sim::cast::Cast;
use crate::sim::disk::{EvidenceFiles, SnapshotFiles};

/// Small, so that followers that lag are served from the disk and not from memory.
const TAIL_BYTES_MAX: usize = 2_000;

/// Why a replica did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sim) enum NoStart {
    /// A fault struck while it started: it tries again.
    Struck,
    /// What is on the disk does not open: a person must act.
    Damaged(String),
}

/// Nobody looks results up here.
struct NoIndex;

impl LeafIndex for NoIndex {
    fn take_leaf(&self, _: u64, _: Option<&BatchSpan>) -> Result<(), TablesFault> {
        Ok(())
    }
}

impl Replica {
    /// `aggregator init`, on a healthy disk.
    pub(in crate::sim) fn init(&self, cast: &Cast) -> Result<(), String> {
        self.disk.make_dir("evidence").map_err(|fault| fault.to_string())?;
        self.disk.sync_dir("").map_err(|fault| fault.to_string())?;
        let files = Box::new(EvidenceFiles::new(&self.disk, "evidence"));
        let created = LogWriter::create_in(files, &cast.origin, &cast.policy.to_text());
        created.map_err(|fault| fault.to_string())?;
        log::create(&self.disk, cast, self.id)
    }

    /// Starts from what the disk holds.
    pub(in crate::sim) fn start(
        &mut self,
        cast: &Cast,
        unix_ms: u64,
        jitter_seed: u64,
    ) -> Result<(), NoStart> {
        self.life += 1;
        match self.open(cast, unix_ms, jitter_seed) {
            Ok(up) => {
                self.up = Some(up);
                Ok(())
            }
            Err(_) if self.disk.has_struck() => Err(NoStart::Struck),
            Err(why) => Err(NoStart::Damaged(why)),
        }
    }

    fn open(&self, cast: &Cast, unix_ms: u64, jitter_seed: u64) -> Result<Up, String> {
        let (log, mut recovered) = log::open(&self.disk, cast, self.id, self.planted)?;
        let files = || EvidenceFiles::new(&self.disk, "evidence");
        let writer = LogWriter::open_in(Box::new(files())).map_err(|fault| fault.to_string())?;
        let directory = SnapshotFiles::open(&self.disk).map_err(|fault| fault.to_string())?;
        let snapshots =
            SnapshotStore::open(Arc::new(directory)).map_err(|fault| fault.to_string())?;
        let beside = Beside {
            disk: &self.disk,
            log: &log.store,
            recovered: &mut recovered,
            writer: &writer,
            snapshots: &snapshots,
            believes_all: self.planted == Some(Planted::SavedBeforeEvidence),
        };
        let (state, rows) = beside.find()?;
        let mut applied = state.applied();
        if self.planted == Some(Planted::AppliedFromHardState) {
            applied = applied.max(recovered.hard_state.commit);
        }
        let log_end = recovered.last_index;
        let first = || Membership::of_voters(recovered.voters.iter().copied());
        let config = DriverConfig {
            node_id: self.id,
            applied,
            membership: state.members().membership().cloned().unwrap_or_else(first),
            jitter_seed,
            tail_bytes_max: TAIL_BYTES_MAX,
        };
        let driver = Driver::new(&config, log.store.clone(), recovered);
        let driver = driver.map_err(|fault| fault.to_string())?;
        let clock = Clock::manual(unix_ms);
        let proposals: Arc<Mutex<Vec<_>>> = Arc::default();
        let me = &cast.nodes[self.place()];
        let out = proposals.clone();
        let parts = RecorderParts {
            evidence: Box::new(files()),
            writer,
            log_key: cast.log_key.clone(),
            node_name: me.name.clone(),
            node_key: me.key.clone(),
            last_signed: SignedFile::over(
                Box::new(EvidenceFiles::new(&self.disk, "")),
                "last_signed",
            ),
            index: Box::new(NoIndex),
            health: Health::new(),
            clock: clock.clone(),
            proposals: Box::new(move |command| {
                out.lock().expect("one thread").push(command);
            }),
        };
        let health = parts.health.clone();
        let recorder = Core::open(parts).map_err(|fault| fault.to_string())?;
        let keys = cast.agents.iter().map(|agent| (agent.name.clone(), agent.key.clone()));
        let mutant = |planted| Mutant { planted, keys: keys.collect(), seen: Default::default() };
        let catching_up = CatchUp::new(cast.origin.clone(), snapshots.clone());
        let mut up = Up {
            driver,
            log,
            machine: Machine::new(state, rows, self.planted.map(mutant)),
            recorder,
            health,
            clock,
            proposals,
            recorder_queue: VecDeque::new(),
            apply_queue: VecDeque::new(),
            requests: VecDeque::new(),
            waiting: Waiting::default(),
            forwarded: BTreeMap::new(),
            stamped_at_ms: 0,
            reads: BTreeMap::new(),
            log_end,
            applied_before: self.applied_once,
            log_id: cast.log_id,
            snapshots,
            catching_up,
            offer: None,
            resting_until_ms: 0,
            installing: None,
        };
        up.tell_covered_snapshot().map_err(|fault| fault.to_string())?;
        Ok(up)
    }
}
