//! A replica's first day, and every start after it: what the disk holds, opened in the order in
//! which it is believed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use proofmark_aggregator::clock::Clock;
use proofmark_aggregator::consensus::Membership;
use proofmark_aggregator::consensus::driver::{Driver, DriverConfig};
use proofmark_aggregator::recorder::{Core, Health, LeafIndex, RecorderParts, SignedFile};
use proofmark_aggregator::state::State;
use proofmark_aggregator::tables::TablesFault;
use proofmark_evidence::{BatchSpan, LogWriter};

use super::machine::{Machine, Mutant};
use super::requests::Waiting;
use super::snapshots::begin_log_after;
use super::{Replica, Up, log, saved};
use crate::sim::Planted;
use crate::sim::cast::Cast;
use crate::sim::disk::EvidenceFiles;

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
        let (state, rows) = self.open_state(&writer)?;
        let mut applied = state.applied();
        begin_log_after(&self.disk, applied, &log.store, &mut recovered)
            .map_err(|fault| fault.to_string())?;
        if self.planted == Some(Planted::AppliedFromHardState) {
            applied = applied.max(recovered.hard_state.commit);
        }
        let config = DriverConfig {
            node_id: self.id,
            applied,
            membership: Membership::of_voters(1..=self.members),
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
        Ok(Up {
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
            fetching: false,
            installing: None,
        })
    }

    /// The saved state, if the evidence reaches as far; else an empty one, and the whole log.
    fn open_state(&self, writer: &LogWriter) -> Result<(State, saved::Rows), String> {
        let believes_all = self.planted == Some(Planted::SavedBeforeEvidence);
        let loaded = saved::load(&self.disk).map_err(|fault| fault.to_string())?;
        let fits = |state: &State| believes_all || writer.size() >= state.leaf_count();
        Ok(loaded
            .filter(|(state, _)| fits(state))
            .unwrap_or_else(|| (State::new(), BTreeMap::new())))
    }
}
