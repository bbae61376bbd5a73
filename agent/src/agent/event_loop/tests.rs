//! A whole loop on a manual clock, a real spool in a temporary directory, and an uplink whose other
//! end is this test.

use std::collections::BTreeSet;
use std::path::Path;

use proofmark_evidence::{OpenBatch, SealedBatch, Seen};
use proofmark_spec::Grid;
use tokio::net::TcpListener;

use super::*;
use crate::agent::open_spool;
use crate::metrics::{Counter, Gauge};
use crate::tests::document;

const START_MS: u64 = 1_700_000_000_000;
const AGENT: &str = "web-1";

/// A loop under test and the far end of its uplink.
struct World {
    clock: Clock,
    batches: mpsc::Receiver<SealedBatch>,
    events: mpsc::Sender<UplinkEvent>,
    shutdown: watch::Sender<bool>,
    metrics: Metrics,
    tasks: JoinSet<Result<(), AgentFault>>,
    /// What the "aggregator" has accepted.
    next_seq: u64,
    previous: Hash,
    accepted: Vec<OpenBatch>,
}

impl World {
    fn start(dir: &Path, clock: Clock) -> World {
        World::start_with(dir, clock, |_| {})
    }

    fn start_with(dir: &Path, clock: Clock, change: impl FnOnce(&mut Config)) -> World {
        let agent = AgentName::parse(AGENT).expect("a label");
        let addresses = vec!["a:1".to_string()];
        let mut config = Config::with_defaults(agent, dir.to_path_buf(), addresses, None);
        change(&mut config);
        std::fs::create_dir_all(dir.join("spool")).expect("made");
        let (spool, damage) = open_spool(&config).expect("opens");
        let (to_aggregator, batches) = mpsc::channel(2);
        let (events, from_aggregator) = mpsc::channel(8);
        let (shutdown, asked) = watch::channel(false);
        let metrics = Metrics::new();
        let agent = EventLoop::new(Parts {
            config,
            clock: clock.clone(),
            log_id: Hash::ZERO,
            agent: AgentName::parse(AGENT).expect("a label"),
            epoch: 1,
            key: SigningKey::from_seed([1; 32]),
            checks: Checks::new(clock.clone(), None),
            metrics: metrics.clone(),
            spool: Start::new(spool, damage).expect("starts"),
            stopped: Stopped::take(dir).expect("can be taken"),
            specs: SpecSet::load(dir),
            uplink: UplinkHandle { batches: to_aggregator, events: from_aggregator },
            shutdown: asked,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(agent.run());
        let (next_seq, previous, accepted) = (1, Hash::ZERO, Vec::new());
        World { clock, batches, events, shutdown, metrics, tasks, next_seq, previous, accepted }
    }

    /// Goes on with what the aggregator of an earlier world has.
    fn knowing(mut self, before: &World) -> World {
        (self.next_seq, self.previous) = (before.next_seq, before.previous);
        self
    }

    async fn tell(&self, event: UplinkEvent) {
        self.events.send(event).await.expect("the loop lives");
    }

    async fn welcome(&self) {
        let (epoch, next_seq, last_header_hash) = (1, self.next_seq, self.previous);
        self.tell(UplinkEvent::Connected { epoch, next_seq, last_header_hash }).await;
    }

    async fn specs(&self, revision: u64, text: String) {
        let effective_at_ms = self.clock.unix_ms();
        self.tell(UplinkEvent::Specs { revision, effective_at_ms, text }).await;
    }

    /// Takes the next batch, insists that it continues the chain, and acknowledges it.
    async fn accept(&mut self) -> OpenBatch {
        let batch = self.batches.recv().await.expect("the loop lives");
        let open = batch.open().expect("opens");
        assert_eq!(open.header.seq_first, self.next_seq, "contiguous");
        assert_eq!(open.header.previous, self.previous, "chained");
        self.next_seq = open.header.seq_end();
        self.previous = batch.leaf.header_hash();
        self.tell(UplinkEvent::Acked { epoch: 1, seq_end: self.next_seq }).await;
        self.accepted.push(open.clone());
        open
    }

    /// Moves the clock in small steps until `batches` more batches were accepted. Between steps
    /// every check that runs may end, so that only the schedule decides what is late.
    async fn run_for(&mut self, batches: usize) {
        let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
        let ticking = async {
            loop {
                tick(&clock).await;
                while metrics.gauge(Gauge::ChecksRunning) > 0 {
                    breathe().await;
                }
            }
        };
        self.accept_while(ticking, batches).await;
    }

    /// The same, but the clock does not wait for checks.
    async fn run_impatiently_for(&mut self, batches: usize) {
        let clock = self.clock.clone();
        let ticking = async {
            loop {
                tick(&clock).await;
            }
        };
        self.accept_while(ticking, batches).await;
    }

    async fn accept_while(&mut self, ticking: impl Future<Output = ()>, batches: usize) {
        let accepting = async {
            for _ in 0..batches {
                self.accept().await;
            }
        };
        tokio::select! {
            () = ticking => unreachable!("the ticking never ends"),
            () = accepting => {}
        }
    }

    async fn stop(&mut self) -> Result<(), AgentFault> {
        self.shutdown.send_replace(true);
        loop {
            tokio::select! {
                ended = self.tasks.join_next() => {
                    return ended.expect("one task").expect("no panic");
                }
                Some(batch) = self.batches.recv() => {
                    let open = batch.open().expect("opens");
                    self.next_seq = open.header.seq_end();
                    self.previous = batch.leaf.header_hash();
                    self.accepted.push(open);
                    let acked = UplinkEvent::Acked { epoch: 1, seq_end: self.next_seq };
                    // The loop may be gone already.
                    let _ = self.events.send(acked).await;
                }
            }
        }
    }

    /// The same, while the clock goes on for as long as checks run. Then it stands: the spool's
    /// disk and the acks take real time, which must not run the drain's own time out.
    async fn stop_slowly(&mut self) -> Result<(), AgentFault> {
        let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
        let ticking = async {
            while metrics.gauge(Gauge::ChecksRunning) > 0 {
                tick(&clock).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = ticking => unreachable!("it waits for the other one"),
            ended = self.stop() => ended,
        }
    }

    /// A kill: the loop ends where it stands.
    async fn kill(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Scheduled instants of everything accepted, as (check, time).
    fn instants(&self) -> Vec<(String, u64)> {
        let each = self.accepted.iter().flat_map(|open| {
            let name = |result| open.check(result).check.to_string();
            open.results.iter().map(move |one| (name(one), open.scheduled_at_ms(one)))
        });
        each.collect()
    }

    /// How many scheduled instants of a check everything accepted speaks of.
    fn told_of(&self, check: &str) -> u64 {
        let each = self.accepted.iter().flat_map(|open| {
            let of_check =
                open.results.iter().filter(|one| open.check(one).check.as_str() == check);
            of_check.map(|one| 1 + one.measured(MeasurementKind::RunsMissedCount).unwrap_or(0))
        });
        each.sum::<i64>().unsigned_abs()
    }

    fn slugs(&self) -> BTreeSet<&'static str> {
        let results = self.accepted.iter().flat_map(|open| &open.results);
        results.map(|result| result.outcome.slug()).collect()
    }
}

/// Moves the clock on and lets the loop see it.
async fn tick(clock: &Clock) {
    clock.advance_ms(100);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    breathe().await;
}

/// Gives real sockets and the spool's thread a turn. Paces the loops that poll; decides nothing.
async fn breathe() {
    tokio::time::sleep(std::time::Duration::from_micros(200)).await;
}

fn tcp_check(name: &str, port: u16) -> String {
    document(name, "1s", Some("500ms"), &format!("tcp: {{address: '127.0.0.1:{port}'}}"))
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("bound").port();
    (listener, port)
}

async fn never_answer(listener: TcpListener) {
    let mut kept = Vec::new();
    while let Ok(stream) = listener.accept().await {
        kept.push(stream);
    }
}

#[tokio::test]
async fn specs_become_results_in_an_unbroken_chain_and_a_stop_delivers_the_rest() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_listener, port) = listener().await;
    let mut world = World::start(dir.path(), Clock::manual(START_MS));
    world.welcome().await;
    world.specs(3, tcp_check("a", port)).await;
    world.run_for(3).await;
    world.stop().await.expect("drains");
    assert_eq!(world.slugs(), BTreeSet::from(["pass"]));
    let grid = Grid::of("a", AGENT, 1_000);
    let times: Vec<u64> = world.instants().into_iter().map(|(_, at)| at).collect();
    assert!(times.windows(2).all(|pair| pair[1] == pair[0] + 1_000), "{times:?}");
    assert!(grid.contains(times[0]) && times[0] >= START_MS);
    let lag = MeasurementKind::StartLagUs;
    let results = world.accepted.iter().flat_map(|open| &open.results);
    assert!(results.clone().all(|result| result.measured(lag).is_some()));
    assert_eq!(world.metrics.gauge(Gauge::SpecRevision), 3);
}

#[tokio::test]
async fn a_kill_and_restart_repeats_no_instant_and_tells_what_was_missed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_listener, port) = listener().await;
    let clock = Clock::manual(START_MS);
    let mut first = World::start(dir.path(), clock.clone());
    first.welcome().await;
    first.specs(1, tcp_check("a", port)).await;
    first.run_for(3).await;
    first.kill().await;
    clock.advance_ms(60_000);

    let mut second = World::start(dir.path(), clock).knowing(&first);
    second.welcome().await;
    second.run_for(2).await;
    let all: Vec<_> = first.instants().into_iter().chain(second.instants()).collect();
    let distinct: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!(distinct.len(), all.len(), "{all:?}");
    assert!(second.slugs().contains("skipped_asleep"), "{:?}", second.slugs());
    let missed = second.accepted.iter().flat_map(|open| &open.results);
    let missed = missed.filter_map(|one| one.measured(MeasurementKind::RunsMissedCount)).max();
    assert!((55..=61).contains(&missed.expect("one row")), "{missed:?}");
}

#[tokio::test]
async fn the_time_after_a_stop_is_told_as_a_shutdown_and_after_a_kill_it_is_not() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_listener, port) = listener().await;
    let clock = Clock::manual(START_MS);
    let mut first = World::start(dir.path(), clock.clone());
    first.welcome().await;
    first.specs(1, tcp_check("a", port)).await;
    first.run_for(2).await;
    first.stop().await.expect("drains");
    clock.advance_ms(60_000);

    let mut second = World::start(dir.path(), clock.clone()).knowing(&first);
    second.welcome().await;
    second.run_for(2).await;
    assert_eq!(second.slugs(), BTreeSet::from(["pass", "skipped_shutdown"]));
    second.kill().await;
    clock.advance_ms(60_000);

    let mut third = World::start(dir.path(), clock.clone()).knowing(&second);
    third.welcome().await;
    third.run_for(2).await;
    third.stop().await.expect("drains");
    assert_eq!(third.slugs(), BTreeSet::from(["pass", "skipped_asleep"]));
    let told = first.told_of("a") + second.told_of("a") + third.told_of("a");
    let begin_ms = first.instants()[0].1;
    let grid = Grid::of("a", AGENT, 1_000);
    assert_eq!(told, grid.count_between(begin_ms, clock.unix_ms() + 1));
}

#[tokio::test]
async fn instants_that_fall_into_a_drain_are_told_in_it_and_the_next_start_goes_on_after_them() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (listener, port) = listener().await;
    let mut silent = JoinSet::new();
    silent.spawn(never_answer(listener));
    let probe = format!("tcp: {{address: '127.0.0.1:{port}', expect: x}}");
    // Its real time limit is far away: the manual clock brings the end of the drain first.
    let slow = document("slow", "60s", Some("50s"), &probe);
    let (_listener, port) = self::listener().await;
    let clock = Clock::manual(START_MS);
    let mut first = World::start(dir.path(), clock.clone());
    first.welcome().await;
    first.specs(1, slow.clone()).await;
    while first.metrics.gauge(Gauge::ChecksRunning) == 0 {
        tick(&clock).await;
    }
    first.specs(2, format!("{slow}---\n{}", tcp_check("a", port))).await;
    first.run_impatiently_for(1).await;
    first.stop_slowly().await.expect("drains");
    let slugs = first.slugs();
    assert!(slugs.contains("cancelled") && slugs.contains("skipped_shutdown"), "{slugs:?}");

    // From here on the slow one is refused at once.
    silent.shutdown().await;
    let mut second = World::start(dir.path(), clock.clone()).knowing(&first);
    second.welcome().await;
    second.run_for(1).await;
    second.stop().await.expect("drains");
    let begin_ms = first.instants().iter().find(|(name, _)| name == "a").expect("ran").1;
    let grid = Grid::of("a", AGENT, 1_000);
    let expect = grid.count_between(begin_ms, clock.unix_ms() + 1);
    assert_eq!(first.told_of("a") + second.told_of("a"), expect);
}

#[tokio::test]
async fn without_an_aggregator_results_wait_on_disk_and_arrive_in_order_later() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_listener, port) = listener().await;
    let clock = Clock::manual(START_MS);
    let mut first = World::start(dir.path(), clock.clone());
    first.welcome().await;
    first.specs(1, tcp_check("a", port)).await;
    first.run_for(1).await;
    first.stop().await.expect("drains");

    // A start that meets no aggregator: kept specs, kept chain.
    let mut second = World::start(dir.path(), clock.clone()).knowing(&first);
    while second.metrics.gauge(Gauge::SequenceNext) < first.next_seq + 5 {
        tick(&clock).await;
    }
    assert!(second.batches.try_recv().is_err(), "nothing is sent before a welcome");
    second.stop().await.expect("needs no aggregator to stop");

    let mut third = World::start(dir.path(), clock).knowing(&first);
    third.welcome().await;
    third.run_for(4).await;
    assert!(third.instants().len() >= 4);
}

#[tokio::test]
async fn a_check_that_is_still_running_is_skipped_as_overrun_and_a_busy_agent_says_so() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (listener, port) = listener().await;
    // Accepts and never answers; the manual clock outruns the check's own (real) time limit.
    let mut silent = JoinSet::new();
    silent.spawn(never_answer(listener));
    let probe = format!("tcp: {{address: '127.0.0.1:{port}', expect: x}}");
    let slow = document("slow", "60s", Some("50s"), &probe);
    let slower = document("slower", "60s", Some("50s"), &probe);
    let clock = Clock::manual(START_MS);
    let mut world = World::start_with(dir.path(), clock, |config| config.concurrent_checks_max = 1);
    world.welcome().await;
    world.specs(1, format!("{slow}---\n{slower}")).await;
    world.run_impatiently_for(3).await;
    let expect = BTreeSet::from(["skipped_busy", "skipped_overrun"]);
    assert_eq!(world.slugs(), expect);
}

#[tokio::test]
async fn a_full_spool_keeps_the_oldest_and_every_instant_is_accounted_for_in_the_end() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_listener, port) = listener().await;
    let clock = Clock::manual(START_MS);
    let mut world = World::start_with(dir.path(), clock.clone(), |config| {
        config.spool_bytes_max = 4_000;
        config.batch_results_max = 2;
    });
    world.welcome().await;
    world.specs(1, tcp_check("a", port)).await;
    // A disk that is only slow makes results wait as well: the spool's own word is what counts.
    let is_refused = |metrics: &Metrics| metrics.counter(Counter::SpoolFailures) > 0;
    while !is_refused(&world.metrics) || world.metrics.counter(Counter::ResultsUnspooled) < 5 {
        tick(&clock).await;
    }
    while !world.slugs().contains("spool_full") {
        world.run_for(1).await;
    }
    world.stop().await.expect("drains");
    let told: u64 = world.accepted.iter().map(|open| open.header.coverage.scheduled).sum();
    let first = world.instants()[0].1;
    let expected = Grid::of("a", AGENT, 1_000).count_between(first, clock.unix_ms() + 1);
    assert_eq!(told, expected);
}

#[tokio::test]
async fn damage_on_disk_is_told_once_an_aggregator_confirms_that_it_was_not_accepted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_listener, port) = listener().await;
    let clock = Clock::manual(START_MS);
    let mut first = World::start(dir.path(), clock.clone());
    first.welcome().await;
    first.specs(1, tcp_check("a", port)).await;
    first.run_for(1).await;
    // These wait on disk: nobody acknowledges them.
    let sealed = first.metrics.counter(Counter::BatchesSealed);
    while first.metrics.counter(Counter::BatchesSealed) < sealed + 4 {
        tick(&clock).await;
    }
    first.kill().await;
    damage_record(&dir.path().join("spool"), 1);

    let mut second = World::start(dir.path(), clock).knowing(&first);
    second.welcome().await;
    second.run_for(2).await;
    assert!(second.slugs().contains("spool_damaged"), "{:?}", second.slugs());
    let aside = std::fs::read_dir(dir.path().join("spool")).expect("there");
    let names = aside.map(|entry| entry.expect("read").file_name().into_string().expect("UTF-8"));
    assert_eq!(names.filter(|name| name.ends_with(".damaged")).count(), 1);
}

/// Flips a bit in a record of the only segment, which has good records behind it.
fn damage_record(spool: &Path, place: usize) {
    let segment = std::fs::read_dir(spool).expect("there").next().expect("one").expect("read");
    let mut bytes = std::fs::read(segment.path()).expect("read");
    let mut at = 8;
    for _ in 0..place {
        let len = u32::from_be_bytes(bytes[at + 4..at + 8].try_into().expect("4 bytes"));
        at += 8 + len as usize;
    }
    bytes[at + 8 + 32] ^= 1;
    std::fs::write(segment.path(), bytes).expect("written");
}

#[tokio::test]
async fn damage_that_leaves_nothing_is_told_when_an_aggregator_knows_of_batches() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_listener, port) = listener().await;
    let clock = Clock::manual(START_MS);
    let mut first = World::start(dir.path(), clock.clone());
    first.welcome().await;
    let checks = format!("{}---\n{}", tcp_check("a", port), tcp_check("b", port));
    first.specs(1, checks).await;
    first.run_for(3).await;
    first.kill().await;
    damage_record(&dir.path().join("spool"), 0);

    let mut second = World::start(dir.path(), clock).knowing(&first);
    second.welcome().await;
    second.run_for(3).await;
    let damaged = second.accepted.iter().flat_map(|open| &open.results);
    let damaged = damaged.filter(|one| one.outcome.slug() == "spool_damaged").count();
    assert_eq!(damaged, 2, "one for each check");
}

#[tokio::test]
async fn a_checkpoint_that_was_seen_stands_in_the_next_header() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_listener, port) = listener().await;
    let mut world = World::start(dir.path(), Clock::manual(START_MS));
    world.welcome().await;
    let seen = Seen { size: 5, root: Hash([7; 32]) };
    world.tell(UplinkEvent::Seen(seen)).await;
    world.specs(1, tcp_check("a", port)).await;
    world.run_for(1).await;
    assert_eq!(world.accepted[0].header.seen, Some(seen));
}

#[tokio::test]
async fn another_epoch_than_ours_stops_the_agent() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut world = World::start(dir.path(), Clock::manual(START_MS));
    let last_header_hash = Hash::ZERO;
    world.tell(UplinkEvent::Connected { epoch: 2, next_seq: 1, last_header_hash }).await;
    let ended = world.tasks.join_next().await.expect("one task").expect("no panic");
    let fault = ended.expect_err("cannot go on");
    assert_eq!(fault.slug(), "wrong_epoch");
}
