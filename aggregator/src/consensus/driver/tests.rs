//! Rules of the driver that no transcript shows.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::membership::{MembershipChange, MembershipFault, Part};
use super::super::storage::LogUnreadable;
use super::*;
use crate::limits::SNAPSHOT_TICKS_MAX;

/// A disk without delay: what is handed to it is durable.
#[derive(Clone, Default)]
struct Disk(Rc<RefCell<Vec<Entry>>>);

impl LogSource for Disk {
    fn fetch(&self, low: u64, high: u64, _: u64) -> Result<Vec<Entry>, LogUnreadable> {
        let kept = |entry: &&Entry| (low..high).contains(&entry.index);
        Ok(self.0.borrow().iter().filter(kept).cloned().collect())
    }
}

/// One replica, and everything it said.
struct Stage {
    driver: Driver<Disk>,
    disk: Disk,
    said: Vec<Output>,
}

impl Stage {
    /// Node 1 of these voters.
    fn of(voters: &[u64]) -> Self {
        let disk = Disk::default();
        let driver = Driver::new(&config(voters), disk.clone(), RecoveredLog::default()).unwrap();
        let mut stage = Self { driver, disk, said: Vec::new() };
        stage.driver.campaign_if_alone();
        stage.settle();
        stage
    }

    fn settle(&mut self) {
        while let Some(output) = self.driver.take_output() {
            if let Some(task) = &output.write {
                let mut entries = self.disk.0.borrow_mut();
                entries.retain(|entry| task.entries.first().is_none_or(|e| entry.index < e.index));
                entries.extend(task.entries.iter().cloned());
                self.driver.persisted(task.number);
            }
            self.said.push(output);
        }
    }

    /// Elected by node 2, which has confirmed nothing yet.
    fn elected(voters: &[u64]) -> Self {
        let mut stage = Self::of(voters);
        stage.elect();
        stage
    }

    fn elect(&mut self) {
        let next = self.driver.status().term + 1;
        for kind in [MessageType::MsgRequestPreVoteResponse, MessageType::MsgRequestVoteResponse] {
            while self.driver.status().role != Role::Candidate {
                self.driver.tick();
            }
            self.settle();
            self.hear(kind, |message| message.term = next);
        }
        assert_eq!(self.driver.status().role, Role::Leader);
    }

    /// A message from node 2.
    fn hear(&mut self, msg_type: MessageType, change: impl FnOnce(&mut Message)) {
        let mut message = Message { msg_type, from: 2, to: 1, ..Message::default() };
        message.term = self.driver.status().term;
        change(&mut message);
        self.driver.message(message).unwrap();
        self.settle();
    }

    fn last_index(&self) -> u64 {
        self.disk.0.borrow().last().unwrap().index
    }

    fn sent(&self, kind: MessageType) -> usize {
        let messages = self.said.iter().flat_map(|output| &output.messages);
        messages.filter(|message| message.get_msg_type() == kind).count()
    }

    fn reads(&self) -> Vec<Read> {
        self.said.iter().flat_map(|output| output.reads.clone()).collect()
    }
}

fn config(voters: &[u64]) -> DriverConfig {
    let membership = Membership::of_voters(voters.iter().copied());
    DriverConfig { node_id: 1, applied: 0, membership, jitter_seed: 7, tail_bytes_max: 1 << 20 }
}

fn snapshot(index: u64, term: u64, voters: &[u64]) -> SnapshotMeta {
    let membership = Membership::of_voters(voters.iter().copied());
    SnapshotMeta { position: Position { index, term }, membership, descriptor: Bytes::new() }
}

#[test]
fn a_log_and_a_state_that_do_not_fit_do_not_start() {
    let start = |applied, first, last_index, voters: &[u64]| {
        let config = DriverConfig { applied, ..config(voters) };
        let start = Position { index: first, term: 1 };
        let recovered = RecoveredLog { start, last_index, ..RecoveredLog::default() };
        Driver::new(&config, Disk::default(), recovered).map(drop)
    };
    assert!(start(7, 7, 7, &[1]).is_ok());
    assert!(matches!(start(8, 0, 7, &[1]), Err(DriverFault::LogBehindState { .. })));
    assert!(matches!(start(6, 7, 9, &[1]), Err(DriverFault::StateBehindLog { .. })));
    assert!(matches!(start(7, 0, 7, &[]), Err(DriverFault::Membership { .. })));
}

#[test]
fn who_is_no_member_yet_listens_and_never_asks_for_votes() {
    let mut stage = Stage::of(&[2, 3]);
    (0..100).for_each(|_| stage.driver.tick());
    stage.settle();
    assert_eq!(stage.driver.status().role, Role::Follower);
    stage.hear(MessageType::MsgAppend, |message| {
        message.term = 3;
        message.entries = vec![Entry { index: 1, term: 3, ..Entry::default() }].into();
    });
    assert_eq!((stage.last_index(), stage.driver.status().leader), (1, Some(2)));
}

#[test]
fn a_leader_reads_only_after_it_has_committed_in_its_term() {
    let mut stage = Stage::elected(&[1, 2]);
    stage.driver.read_index(1);
    stage.settle();
    let context = [1u64, 7, 1].map(u64::to_be_bytes).concat();
    stage.hear(MessageType::MsgHeartbeatResponse, |m| m.context = context.into());
    assert!(stage.reads().is_empty(), "it does not know yet what was committed before");
    let index = stage.last_index();
    stage.hear(MessageType::MsgAppendResponse, |message| message.index = index);
    assert_eq!(stage.driver.status().commit, index);
    stage.driver.read_index(2);
    stage.settle();
    assert!(stage.reads().is_empty(), "a majority has not answered");
    let context = [1u64, 7, 2].map(u64::to_be_bytes).concat();
    stage.hear(MessageType::MsgHeartbeatResponse, |m| m.context = context.into());
    assert_eq!(stage.reads(), [Read { token: 2, index }]);
}

#[test]
fn an_answer_to_an_earlier_life_is_nobodys() {
    let mut stage = Stage::of(&[1, 2]);
    let answer = |life: u64| {
        let name = [1u64, life, 9].map(u64::to_be_bytes).concat();
        let entry = Entry { data: name.into(), ..Entry::default() };
        move |message: &mut Message| {
            (message.term, message.index, message.entries) = (3, 1, vec![entry].into());
        }
    };
    stage.hear(MessageType::MsgReadIndexResp, answer(6));
    assert!(stage.reads().is_empty());
    stage.hear(MessageType::MsgReadIndexResp, answer(7));
    assert_eq!(stage.reads(), [Read { token: 9, index: 1 }]);
}

#[test]
fn a_leader_asks_about_a_bounded_number_of_reads() {
    let mut stage = Stage::elected(&[1, 2]);
    let index = stage.last_index();
    stage.hear(MessageType::MsgAppendResponse, |message| message.index = index);
    for token in 0..2 * crate::limits::READS_PENDING_MAX as u64 {
        let name = [2u64, 7, token].map(u64::to_be_bytes).concat();
        let entry = Entry { data: name.into(), ..Entry::default() };
        let fill = |m: &mut Message| (m.term, m.entries) = (0, vec![entry].into());
        stage.hear(MessageType::MsgReadIndex, fill);
    }
    assert_eq!(stage.sent(MessageType::MsgHeartbeat), crate::limits::READS_PENDING_MAX);
}

#[test]
fn one_change_is_under_way_until_the_state_has_spoken() {
    let mut stage = Stage::of(&[1]);
    let add = |id| MembershipChange::one(id, Part::Learner);
    let propose = |stage: &mut Stage, id| stage.driver.propose_change(&add(id), "yes".into());
    stage.driver.applied(1);
    let at = propose(&mut stage, 2).unwrap();
    stage.settle();
    assert_eq!(propose(&mut stage, 3), Err(ChangeRefused::Pending));
    let before = stage.driver.membership().clone();
    stage.driver.change_applied(at.index, None);
    stage.driver.applied(at.index);
    assert_eq!(stage.driver.membership(), &before, "refused: raft never hears of it");
    assert_eq!(stage.driver.progress(), []);
    let at = propose(&mut stage, 2).unwrap();
    stage.settle();
    let after = before.after(&add(2)).unwrap();
    stage.driver.change_applied(at.index, Some(after.clone()));
    stage.driver.applied(at.index);
    assert_eq!(stage.driver.membership(), &after);
    assert_eq!(stage.driver.progress()[0].node_id, 2);
    let gone = MembershipChange::one(1, Part::Gone);
    let refused = stage.driver.propose_change(&gone, "yes".into());
    assert_eq!(refused, Err(MembershipFault::NoVoters.into()));
}

#[test]
#[should_panic(expected = "raft's membership, and the state's")]
fn a_state_that_says_another_membership_than_raft_ends_the_replica() {
    let mut stage = Stage::of(&[1]);
    stage.driver.applied(1);
    let add = MembershipChange::one(2, Part::Learner);
    let at = stage.driver.propose_change(&add, "yes".into()).unwrap();
    stage.settle();
    stage.driver.change_applied(at.index, Some(Membership::of_voters([1, 3])));
}

/// The change is an earlier leader's; the one that loses its vote by it was elected before it could
/// know.
#[test]
fn a_leader_whose_vote_is_taken_away_leads_no_more() {
    let mut stage = Stage::of(&[1, 2]);
    let gone = MembershipChange::one(1, Part::Gone);
    let (data, context) = (super::super::conf_change::encode(&gone).into(), "yes".into());
    let entry_type = EntryType::EntryConfChangeV2;
    let change = Entry { index: 1, term: 1, entry_type, data, context, ..Entry::default() };
    stage.hear(MessageType::MsgAppend, |m| (m.term, m.entries) = (1, vec![change].into()));
    stage.elect();
    let index = stage.last_index();
    stage.hear(MessageType::MsgAppendResponse, |message| message.index = index);
    assert_eq!(stage.driver.status().commit, index, "it commits by the old majority");
    let at = stage.driver.propose("too late".into()).unwrap();
    stage.driver.change_applied(1, Some(Membership::of_voters([2])));
    stage.driver.applied(1);
    stage.settle();
    assert_eq!(stage.driver.status().role, Role::Follower);
    assert_eq!(stage.last_index(), at.index, "its own disk finishes what was begun");
    (0..100).for_each(|_| stage.driver.tick());
    stage.settle();
    assert_eq!(stage.driver.status().role, Role::Follower, "and it asks for no votes");
}

#[test]
fn nothing_is_installed_that_is_older_than_the_log_or_while_leading() {
    let mut stage = Stage::of(&[1]);
    stage.driver.install(snapshot(50, 1, &[1]));
    stage.settle();
    assert!(stage.said.iter().all(|output| output.install.is_none()), "it leads");
    let mut stage = Stage::of(&[1, 2]);
    stage.hear(MessageType::MsgAppend, |message| {
        (message.term, message.commit) = (3, 1);
        message.entries = vec![Entry { index: 1, term: 3, ..Entry::default() }].into();
    });
    stage.driver.install(snapshot(1, 3, &[1, 2]));
    stage.settle();
    assert!(stage.said.iter().all(|output| output.install.is_none()), "it has that much");
}

#[test]
fn a_snapshot_waits_for_the_disk_and_the_state_waits_for_the_log() {
    let mut stage = Stage::of(&[1, 2]);
    let append = Message {
        msg_type: MessageType::MsgAppend,
        from: 2,
        to: 1,
        term: 3,
        entries: vec![Entry { index: 1, term: 3, ..Entry::default() }].into(),
        ..Message::default()
    };
    stage.driver.message(append).unwrap();
    let first = stage.driver.take_output().unwrap().write.unwrap();
    stage.driver.install(snapshot(50, 3, &[1, 2]));
    assert_eq!(stage.driver.take_output(), None, "an earlier write is on its way");
    stage.driver.persisted(first.number);
    let mut outputs = Vec::new();
    while let Some(output) = stage.driver.take_output() {
        outputs.push(output);
    }
    let reset = outputs.iter().find_map(|output| output.write.clone()).unwrap();
    assert_eq!(reset.reset, Some(Position { index: 50, term: 3 }));
    assert!(outputs.iter().all(|output| output.install.is_none()), "not durable yet");
    (0..100).for_each(|_| stage.driver.tick());
    stage.driver.persisted(reset.number);
    let output = stage.driver.take_output().unwrap();
    assert_eq!(output.install, Some(snapshot(50, 3, &[1, 2])));
    // A late word about what the snapshot has replaced.
    stage.driver.applied(1);
    (0..100).for_each(|_| stage.driver.tick());
    stage.hear(MessageType::MsgTimeoutNow, |_| ());
    assert_eq!(stage.driver.status().role, Role::Follower, "no election in between");
    stage.driver.snapshot_installed(50);
    assert_eq!(stage.driver.status().applied, 50);
    (0..100).for_each(|_| stage.driver.tick());
    assert_eq!(stage.driver.status().role, Role::Candidate, "time goes on");
}

/// It asks nobody for a vote, so nothing but this keeps its learner from hearing of a term that a
/// crash makes it forget, and lead again, with other entries.
#[test]
fn the_only_voter_tells_its_learner_of_a_term_when_the_term_is_durable() {
    let membership = Membership { learners: [2].into(), ..Membership::of_voters([1]) };
    let config = DriverConfig { membership, ..config(&[1]) };
    let mut driver = Driver::new(&config, Disk::default(), RecoveredLog::default()).unwrap();
    driver.campaign_if_alone();
    assert_eq!(driver.status().role, Role::Leader);
    let first = driver.take_output().unwrap();
    assert_eq!(first.messages, []);
    driver.propose("entry".into()).unwrap();
    let second = driver.take_output().unwrap();
    assert_eq!(second.messages, [], "the term is still on its way to the disk");
    driver.persisted(first.write.unwrap().number);
    let told = driver.take_output().unwrap().messages;
    assert!(told.iter().all(|message| message.to == 2) && !told.is_empty());
}

/// A new leader does not know yet how far this log is, and may have let go of all before its
/// snapshot. Without an answer it would offer the same one for ever.
#[test]
fn a_snapshot_that_ends_in_this_log_is_answered_and_not_fetched() {
    let mut stage = Stage::of(&[1, 2]);
    let entries = (1..4).map(|index| Entry { index, term: 3, ..Entry::default() });
    let append = |m: &mut Message| {
        (m.term, m.commit, m.entries) = (3, 2, entries.collect::<Vec<Entry>>().into());
    };
    stage.hear(MessageType::MsgAppend, append);
    let offer = |stage: &mut Stage, index| {
        stage.said.clear();
        let meta = snapshot(index, 3, &[1, 2]);
        let fill = |m: &mut Message| (m.term, m.snapshot) = (4, Some(to_raft(&meta)).into());
        stage.hear(MessageType::MsgSnapshot, fill);
        let offers = stage.said.iter().filter(|output| output.offer.is_some()).count();
        (stage.sent(MessageType::MsgAppendResponse), offers)
    };
    assert_eq!(offer(&mut stage, 1), (1, 0), "committed here");
    assert_eq!(offer(&mut stage, 3), (1, 0), "in the log: committed now");
    assert_eq!(stage.driver.status().commit, 3);
    assert_eq!(offer(&mut stage, 9), (0, 1), "this one is to be fetched");
}

#[test]
fn a_peer_that_takes_too_long_for_a_snapshot_is_asked_where_it_stands() {
    let mut stage = Stage::elected(&[1, 2, 3]);
    let (index, term) = (stage.last_index(), stage.driver.status().term);
    stage.hear(MessageType::MsgAppendResponse, |message| message.index = index);
    stage.driver.applied(index);
    stage.driver.snapshot_made(snapshot(index, term, &[1, 2, 3]));
    stage.driver.compact(Position { index, term }).unwrap();
    // Node 3 has heard nothing yet, and what it needs first is gone.
    let ticks = |stage: &mut Stage, ticks: u64| {
        for _ in 0..ticks {
            stage.driver.tick();
            stage.hear(MessageType::MsgHeartbeatResponse, |_| ());
            stage.hear(MessageType::MsgHeartbeatResponse, |message| message.from = 3);
        }
    };
    let offers = |stage: &Stage| stage.sent(MessageType::MsgSnapshot);
    ticks(&mut stage, SNAPSHOT_TICKS_MAX);
    assert_eq!(offers(&stage), 1, "it is given time");
    let state = stage.driver.progress()[1].state;
    assert_eq!(state, PeerState::Snapshot { index });
    ticks(&mut stage, 5);
    assert_eq!(offers(&stage), 2, "and offered it again");
}

#[test]
fn nothing_is_compacted_above_a_snapshot_or_what_is_applied() {
    let mut stage = Stage::of(&[1]);
    let at = |index| Position { index, term: 1 };
    for _ in 0..4 {
        stage.driver.propose("entry".into()).unwrap();
    }
    stage.settle();
    let refused = stage.driver.compact(at(3));
    assert_eq!(refused, Err(CompactRefused::PastSnapshot { snapshot: 0, got: 3 }));
    stage.driver.snapshot_made(snapshot(4, 1, &[1]));
    let other = Position { index: 3, term: 2 };
    assert!(matches!(stage.driver.compact(other), Err(CompactRefused::NotHere { .. })));
    stage.driver.compact(at(3)).unwrap();
    stage.settle();
    assert!(stage.said.iter().all(|output| output.compact.is_none()), "nothing is applied yet");
    stage.driver.applied(2);
    stage.settle();
    assert!(stage.said.iter().all(|output| output.compact.is_none()));
    stage.driver.applied(3);
    stage.settle();
    assert!(stage.said.iter().any(|output| output.compact == Some(at(3))));
}
