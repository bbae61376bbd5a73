//! One virtual agent: the real core, schedule, batcher, outbox and spool over a virtual disk.

mod hands;
mod link;

use std::path::Path;

use proofmark_agent::core::{Core, CoreParts};
use proofmark_agent::spool::{Report, Spool, SpoolFault, carry_out};
use proofmark_agent::{AgentFault, Clock, Found, Metrics};
use proofmark_evidence::Hash;

pub(super) use hands::VirtualHands;
pub(super) use link::Link;

use super::Planted;
use super::cast::{AgentIdentity, BEGIN_MS};
use super::disk::{Disk, SpoolFiles};

/// Small, so that segments end, fill up and are freed within a run.
const SPOOL_BYTES_MAX: u64 = 24 << 10;
const BATCH_AGE_MS: u64 = 1_500;
const BATCH_RESULTS_MAX: usize = 6;
const CONCURRENT_MAX: usize = 2;

pub(super) struct Agent {
    pub(super) identity: AgentIdentity,
    pub(super) life: u64,
    pub(super) disk: Disk,
    pub(super) up: Option<Up>,
    /// How far this host's clock is off, and how fast it runs, in parts per million more.
    pub(super) skew: Skew,
    pub(super) planted: Option<Planted>,
}

/// What a crash takes.
pub(super) struct Up {
    pub(super) core: Core<VirtualHands>,
    spool: Spool<SpoolFiles>,
    pub(super) link: Link,
    pub(super) clock: Clock,
    moved_at_ms: u64,
    /// When the core is woken next, world time.
    pub(super) wakes_at_ms: Option<u64>,
    pub(super) spool_is_busy: bool,
}

/// A host's wall clock against the world's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skew {
    pub(super) offset_ms: i64,
    pub(super) drift_ppm: i64,
}

impl Skew {
    pub(super) fn unix_ms(self, now_ms: u64) -> u64 {
        let drifted = i64::try_from(now_ms).expect("a short run") * self.drift_ppm / 1_000_000;
        (BEGIN_MS + now_ms).saturating_add_signed(self.offset_ms + drifted)
    }
}

impl Agent {
    pub(super) fn new(identity: AgentIdentity, disk: Disk, planted: Option<Planted>) -> Self {
        disk.put("spool/.keep", b"");
        Self { identity, life: 0, disk, up: None, skew: Skew::default(), planted }
    }

    /// Starts from what the disk holds. Says whether batches were set aside as damaged.
    pub(super) fn start(&mut self, now_ms: u64, log_id: Hash) -> Result<bool, SpoolFault> {
        self.life += 1;
        let dir = Path::new("/spool");
        if self.planted == Some(Planted::SequenceReused) {
            self.forget_newest();
        }
        let (spool, damage) = Spool::open(SpoolFiles::new(&self.disk), dir, SPOOL_BYTES_MAX)?;
        let clock = Clock::manual(self.skew.unix_ms(now_ms));
        let specs = hands::kept_specs(&self.disk);
        let spec_revision = specs.as_ref().map_or(0, |specs| specs.revision);
        let parts = CoreParts {
            clock: clock.clone(),
            log_id,
            agent: self.identity.name.clone(),
            epoch: 1,
            key: self.identity.key.clone(),
            metrics: Metrics::new(),
            found: Found::in_spool(&spool, damage.as_ref())?,
            stopped: None,
            specs,
            batch_age_ms_max: BATCH_AGE_MS,
            batch_results_max: BATCH_RESULTS_MAX,
            concurrent_checks_max: CONCURRENT_MAX,
        };
        let hands = VirtualHands {
            disk: self.disk.clone(),
            started: Vec::new(),
            orders: Default::default(),
        };
        self.up = Some(Up {
            core: Core::new(parts, hands),
            spool,
            link: Link::new(spec_revision),
            clock,
            moved_at_ms: now_ms,
            wakes_at_ms: None,
            spool_is_busy: false,
        });
        Ok(damage.is_some())
    }

    /// Planted: the newest record of the newest segment is not read.
    fn forget_newest(&self) {
        let files = self.disk.files_below("spool/");
        let Some((path, bytes)) = files.iter().rfind(|(_, bytes)| bytes.len() > 8) else {
            return;
        };
        // A magic of 8 bytes, then records: checksum, length of what follows, and that.
        let mut ends = vec![8];
        while let Some(len) =
            bytes.get(ends[ends.len() - 1] + 4..).and_then(|b| b.first_chunk::<4>())
        {
            ends.push(ends[ends.len() - 1] + 8 + u32::from_be_bytes(*len) as usize);
        }
        if ends.len() > 2 {
            self.disk.put(path, &bytes[..ends[ends.len() - 2]]);
        }
    }
}

impl Up {
    /// Lets the host's clocks show the world's time.
    pub(super) fn set_clock(&mut self, now_ms: u64, skew: Skew) {
        self.clock.advance_ms(now_ms - self.moved_at_ms);
        self.clock.set_unix_ms(skew.unix_ms(now_ms));
        self.moved_at_ms = now_ms;
    }

    /// The spool's thread carries out its next order.
    pub(super) fn next_report(&mut self) -> Option<Report> {
        let order = self.core.hands().orders.pop_front()?;
        Some(carry_out(&mut self.spool, order))
    }

    /// World time of the core's next wish to be woken.
    pub(super) fn wake_at_ms(&self, now_ms: u64) -> u64 {
        let in_ms = self.core.wake_at_ms().saturating_sub(self.clock.unix_ms());
        // It looks again at least this often: clocks jump.
        now_ms + in_ms.clamp(1, 1_000)
    }
}

/// Whether a fault of the core ends its process, to be started again.
pub(super) fn must_restart(fault: &AgentFault) -> bool {
    matches!(fault, AgentFault::Spool(_) | AgentFault::PartEnded { .. })
}
