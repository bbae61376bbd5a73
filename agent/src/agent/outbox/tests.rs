//! The outbox against a spool that is a list, and aggregators that want all sorts of things.

use proofmark_evidence::{
    AgentName, BatchDraft, CheckName, CheckRef, CheckResult, Coverage, Outcome, SigningKey,
};

use super::*;
use crate::spool::Damage;

/// Where the results of spooled batches end.
const UNTIL_MS: u64 = 8_000;

/// An outbox and the spool it orders about.
struct World {
    outbox: Outbox,
    spool: Vec<Record>,
    lost: Vec<Lost>,
    sent: Vec<u64>,
    time_ms: u64,
}

fn seal(chain: &Chain, base_time_ms: u64) -> Record {
    let draft = BatchDraft {
        log_id: Hash::ZERO,
        agent: AgentName::parse("web-1").expect("a label"),
        epoch: chain.epoch,
        seq_first: chain.next_seq,
        base_time_ms,
        checks: vec![CheckRef {
            check: CheckName::parse("a").expect("a label"),
            spec_revision: 1,
            target: "t".to_string(),
        }],
        coverage: Coverage { scheduled: 2, run: 2, skipped: vec![] },
        previous: chain.previous,
        seen: None,
        results: (0..2).map(|at| CheckResult::new(0, at, Outcome::Pass, "")).collect(),
    };
    let batch = draft.seal(&SigningKey::from_seed([1; 32])).expect("sealed");
    Record::of(batch).expect("a batch")
}

fn start() -> Chain {
    Chain { epoch: 1, next_seq: 1, previous: Hash::ZERO }
}

/// A spool of `count` batches of two results, chained from `chain` on.
fn spool_of(count: u64, mut chain: Chain) -> Vec<Record> {
    let mut spool = Vec::new();
    for at in 0..count {
        let record = seal(&chain, 1_000 * (at + 1));
        chain = chain_after(&record.batch).expect("a batch");
        spool.push(record);
    }
    spool
}

fn end_of(spool: &[Record]) -> Chain {
    spool.last().map_or(start(), |record| chain_after(&record.batch).expect("a batch"))
}

impl World {
    fn on(spool: Vec<Record>, lost: Option<Lost>) -> World {
        let newest = spool.last().map(|record| record.batch.clone());
        let outbox = Outbox::new(1, newest.as_ref(), UNTIL_MS, lost);
        World { outbox, spool, lost: vec![], sent: vec![], time_ms: 100_000 }
    }

    fn welcome(&mut self, chain: Chain) {
        let lost = self.outbox.connected(chain.next_seq, chain.previous);
        self.lost.extend(lost);
        self.work();
    }

    /// Seals one batch if that is possible now.
    fn measure(&mut self) -> bool {
        let Some(chain) = self.outbox.chain_to_seal() else { return false };
        self.outbox.sealed(seal(&chain, self.time_ms), self.time_ms, self.time_ms + 2);
        self.time_ms += 1_000;
        self.work();
        true
    }

    /// Carries out orders and sends until nothing is left to do.
    fn work(&mut self) {
        loop {
            if let Some(order) = self.outbox.next_order() {
                let report = self.carry_out(order);
                match self.outbox.report(report) {
                    Noted::Nothing => {}
                    Noted::Lost(lost) => self.lost.push(lost),
                    other => panic!("{other:?}"),
                }
            } else if let Some(batch) = self.outbox.take_outgoing() {
                self.sent.push(header_of(&batch).expect("a batch").seq_first);
            } else {
                return;
            }
        }
    }

    fn carry_out(&mut self, order: Order) -> Report {
        match order {
            Order::Append(record) => {
                assert_eq!(end_of(&self.spool).next_seq, record.seq_first, "a hole in the spool");
                let seq_end = record.seq_end;
                self.spool.push(record);
                Report::Appended { seq_end, bytes: 0 }
            }
            Order::Fetch { seq, .. } => {
                let found = self.spool.iter().find(|record| record.seq_end > seq);
                Report::Fetched(found.map(|record| record.batch.clone()))
            }
            Order::Acked { .. } => Report::Trimmed { bytes: 0 },
            Order::Rejoin { seq, .. } => {
                self.spool.retain(|record| record.seq_end <= seq);
                if end_of(&self.spool).next_seq != seq {
                    self.spool.clear();
                    self.spool.extend(phantom_before(seq));
                }
                Report::Rejoined(Damage { files: vec![] })
            }
        }
    }
}

/// Stands for "the spool starts at `seq`" in this model.
fn phantom_before(seq: u64) -> Option<Record> {
    let next_seq = seq.checked_sub(2).filter(|seq| *seq > 0)?;
    Some(seal(&Chain { epoch: 1, next_seq, previous: Hash::ZERO }, 0))
}

#[test]
fn a_new_agent_seals_nothing_before_its_first_welcome() {
    let mut world = World::on(vec![], None);
    assert!(!world.measure());
    world.welcome(start());
    assert!(world.measure() && world.measure());
    assert_eq!((world.sent, world.lost), (vec![1, 3], vec![]));
}

#[test]
fn a_restart_without_an_aggregator_goes_on_sealing_and_sends_when_welcome() {
    let spool = spool_of(3, start());
    let mut world = World::on(spool.clone(), None);
    assert!(world.measure());
    assert!(world.sent.is_empty(), "{:?}", world.sent);
    world.welcome(end_of(&spool[..1]));
    assert_eq!((world.sent, world.lost), (vec![3, 5, 7], Vec::new()));
}

#[test]
fn acks_do_not_go_back_when_another_node_knows_less() {
    let spool = spool_of(3, start());
    let mut world = World::on(spool.clone(), None);
    world.welcome(end_of(&spool));
    assert!(world.sent.is_empty(), "{:?}", world.sent);
    world.welcome(end_of(&spool[..1]));
    assert!(world.sent.is_empty(), "{:?}", world.sent);
    world.outbox.resend_from(3);
    world.work();
    assert_eq!(world.sent, [3, 5]);
    assert_eq!(world.lost, []);
}

#[test]
fn an_aggregator_that_has_more_is_joined_where_it_is() {
    let spool = spool_of(5, start());
    let mut world = World::on(spool[..2].to_vec(), None);
    world.welcome(end_of(&spool));
    assert_eq!(world.outbox.chain_to_seal(), Some(end_of(&spool)));
    assert!(world.measure());
    assert_eq!((world.sent, world.lost), (vec![11], vec![]));
}

#[test]
fn batches_on_another_chain_are_set_aside_and_told_as_lost() {
    let common = spool_of(2, start());
    let theirs = seal(&end_of(&common), 77);
    let mut spool = common.clone();
    spool.extend(spool_of(3, end_of(&common)));
    let mut world = World::on(spool, None);
    world.welcome(chain_after(&theirs.batch).expect("a batch"));
    assert_eq!(world.lost, [Lost { since_ms: Some(2_000), until_ms: UNTIL_MS }]);
    assert!(world.measure());
    assert_eq!(world.sent, [7]);
}

#[test]
fn after_damage_nothing_is_sealed_until_a_welcome_confirms_the_loss() {
    let spool = spool_of(2, start());
    let lost = Lost { since_ms: Some(2_001), until_ms: 3_000 };
    let mut world = World::on(spool.clone(), Some(lost));
    assert!(!world.measure());
    world.welcome(end_of(&spool[..1]));
    assert_eq!(world.lost, [lost]);
    assert!(world.measure());
    assert_eq!(world.sent, [3, 5]);
}

#[test]
fn after_damage_of_what_had_arrived_nothing_is_lost() {
    let whole = spool_of(4, start());
    let lost = Lost { since_ms: Some(2_001), until_ms: 3_000 };
    let mut world = World::on(whole[..2].to_vec(), Some(lost));
    world.welcome(end_of(&whole));
    assert!(world.measure());
    assert_eq!((world.sent, world.lost), (vec![9], vec![]));
}

/// Also when the aggregator has nothing at all: something was there.
#[test]
fn after_damage_of_everything_the_loss_is_told_and_the_chain_joined() {
    for theirs in [end_of(&spool_of(2, start())), start()] {
        let lost = Lost { since_ms: None, until_ms: 3_000 };
        let mut world = World::on(vec![], Some(lost));
        assert!(!world.measure());
        world.welcome(theirs);
        assert_eq!(world.lost, [lost]);
        assert!(world.measure());
        assert_eq!(world.sent, [theirs.next_seq]);
        world.welcome(end_of(&world.spool));
        assert_eq!(world.lost, [lost], "told once");
    }
}

#[test]
fn a_batch_that_will_never_be_taken_is_replaced_under_its_own_numbers() {
    let spool = spool_of(3, start());
    let mut world = World::on(spool.clone(), None);
    world.welcome(end_of(&spool[..1]));
    world.outbox.discard_oldest();
    world.work();
    assert_eq!(world.lost, [Lost { since_ms: Some(2_000), until_ms: UNTIL_MS }]);
    assert_eq!(world.outbox.chain_to_seal(), Some(end_of(&spool[..1])));
    assert!(world.measure());
    assert_eq!(world.sent, [3, 5, 3]);
}

#[test]
fn a_batch_on_its_way_to_disk_is_lost_with_the_chain_it_was_made_for() {
    let spool = spool_of(5, start());
    let mut world = World::on(spool[..2].to_vec(), None);
    let chain = world.outbox.chain_to_seal().expect("known from the spool");
    world.outbox.sealed(seal(&chain, 9_000), 9_000, 9_002);
    world.welcome(end_of(&spool));
    assert_eq!(world.lost, [Lost { since_ms: Some(9_000), until_ms: 9_002 }]);
    assert!(world.measure());
    assert_eq!(world.sent, [11]);
}

#[test]
fn a_batch_that_cannot_be_written_is_tried_again_with_the_same_bytes() {
    let mut outbox = Outbox::new(1, None, 0, None);
    outbox.connected(1, Hash::ZERO);
    while outbox.next_order().is_some() {}
    outbox.report(Report::Rejoined(Damage { files: vec![] }));
    let record = seal(&outbox.chain_to_seal().expect("welcome"), 5_000);
    outbox.sealed(record.clone(), 5_000, 5_002);
    let Some(Order::Append(first)) = outbox.next_order() else { panic!("an append") };
    let fault = SpoolFault::Full { expected: 1, got: 2 };
    outbox.report(Report::NotAppended { record: first, fault });
    assert!(outbox.chain_to_seal().is_none() && outbox.unwritten() == 1);
    outbox.retry();
    let Some(Order::Append(second)) = outbox.next_order() else { panic!("an append") };
    assert_eq!(second, record);
}
