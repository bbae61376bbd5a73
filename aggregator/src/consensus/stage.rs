//! A stage for drivers: disks in memory, a state that is no more than its members, links that can be
//! cut, and a transcript of what everybody said. Commands are lines of text.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::rc::Rc;

use super::conf_change;
use super::driver::{
    Driver, DriverConfig, Entry, EntryType, HardState, Message, MessageType, Output, Position,
    WriteTask,
};
use super::membership::{Membership, MembershipChange, Part};
use super::snapshot::{SnapshotMeta, SnapshotOffer};
use super::storage::{LogSource, LogUnreadable, RecoveredLog};

pub(super) const VOTERS: [u64; 3] = [1, 2, 3];

/// A log in memory, and a snapshot beside it; what was not flushed is gone after a crash.
#[derive(Clone, Default)]
pub(super) struct Disk(Rc<RefCell<Platter>>);

#[derive(Default)]
struct Platter {
    start: Position,
    entries: Vec<Entry>,
    hard_state: HardState,
    queue: Vec<WriteTask>,
    stuck: bool,
    /// Oldest first.
    snapshots: Vec<SnapshotMeta>,
}

#[derive(Default)]
pub(super) struct Node {
    driver: Option<Driver<Disk>>,
    disk: Disk,
    /// The state: no more than how far it is, and who the members are there.
    applied: u64,
    membership: Membership,
    pub(super) offer: Option<SnapshotOffer>,
    /// An install that the state is slow about, if it is.
    pub(super) slow_install: Option<Option<u64>>,
    /// Committed after the snapshot that is being installed.
    waiting: Vec<Entry>,
    /// A peer needs a snapshot, and there is none that would do.
    pub(super) wants: bool,
    lives: u64,
}

/// What must be the same for everybody.
#[derive(Default)]
struct Truth {
    committed: BTreeMap<u64, Entry>,
    /// By the index of the change.
    memberships: BTreeMap<u64, Option<Membership>>,
    /// By term.
    leaders: BTreeMap<u64, u64>,
    /// What was committed anywhere when a read was asked for, by node and token.
    asked: BTreeMap<(u64, u64), u64>,
}

/// Three nodes or more, links that can be cut in one direction, and the transcript.
pub(super) struct Stage {
    pub(super) nodes: BTreeMap<u64, Node>,
    pub(super) messages: VecDeque<Message>,
    cut: BTreeSet<(u64, u64)>,
    pub(super) said: String,
    truth: Truth,
}

impl LogSource for Disk {
    fn fetch(&self, low: u64, high: u64, _: u64) -> Result<Vec<Entry>, LogUnreadable> {
        let platter = self.0.borrow();
        let at = |index: u64| (index - platter.start.index) as usize - 1;
        Ok(platter.entries[at(low)..at(high)].to_vec())
    }
}

impl Disk {
    fn flush(&self) -> Option<u64> {
        let mut platter = self.0.borrow_mut();
        if platter.stuck {
            return None;
        }
        let tasks = std::mem::take(&mut platter.queue);
        let newest = tasks.last().map(|task| task.number);
        tasks.into_iter().for_each(|task| platter.write(task));
        newest
    }

    fn recover(&self) -> RecoveredLog {
        let platter = self.0.borrow();
        let (hard_state, start) = (platter.hard_state.clone(), platter.start);
        let last_index = start.index + platter.entries.len() as u64;
        RecoveredLog { hard_state, voters: VOTERS.to_vec(), start, last_index }
    }
}

impl Platter {
    fn write(&mut self, task: WriteTask) {
        if let Some(position) = task.reset {
            self.start = position;
            self.entries.clear();
        }
        if let Some(first) = task.entries.first() {
            self.entries.truncate((first.index - self.start.index) as usize - 1);
            self.entries.extend(task.entries);
        }
        self.hard_state = task.hard_state.unwrap_or(self.hard_state.clone());
    }

    fn compact(&mut self, position: Position) {
        self.entries.retain(|entry| entry.index > position.index);
        self.start = position;
    }

    fn fitting_snapshot(&self) -> Option<SnapshotMeta> {
        let fits = |meta: &&SnapshotMeta| {
            let Position { index, .. } = meta.position;
            index >= self.start.index && self.position(index) == meta.position
        };
        self.snapshots.iter().filter(fits).max_by_key(|meta| meta.position).cloned()
    }

    fn position(&self, index: u64) -> Position {
        let entry = self.entries.iter().find(|entry| entry.index == index);
        entry.map_or(self.start, |entry| Position { index, term: entry.term })
    }
}

impl Stage {
    pub(super) fn new() -> Self {
        let (nodes, messages, cut, said, truth) = Default::default();
        let mut stage = Self { nodes, messages, cut, said, truth };
        VOTERS.iter().for_each(|id| stage.start(*id));
        stage
    }

    pub(super) fn run(&mut self, command: &str) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "tick" => self.tick(number(1), number(2)),
            "propose" => self.propose(number(1), words[2]),
            "settle" => self.settle(),
            "cut" => drop(self.cut.insert((number(1), number(2)))),
            "heal" => self.cut.clear(),
            "stick" => self.node(number(1)).disk.0.borrow_mut().stuck = true,
            "unstick" => self.node(number(1)).disk.0.borrow_mut().stuck = false,
            "hand-over" => self.hand_over(number(1)),
            "stand-down" => self.driver(number(1)).stand_down(),
            "change" => self.change(number(1), &words[2..]),
            "transfer" => self.transfer(number(1), number(2)),
            "read" => self.read(number(1), number(2)),
            "snapshot" => self.snapshot(number(1)),
            "compact" => self.compact(number(1), number(2)),
            "fetch" => self.fetch(number(1)),
            "slow-state" => self.node(number(1)).slow_install = Some(None),
            "quick-state" => self.quick_state(number(1)),
            "crash" => self.crash(number(1)),
            "start" => self.start(number(1)),
            other => panic!("no such command: {other}"),
        }
    }

    /// Those that run.
    pub(super) fn up(&self) -> Vec<u64> {
        let up = self.nodes.iter().filter(|(_, node)| node.driver.is_some());
        up.map(|(id, _)| *id).collect()
    }

    pub(super) fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.entry(id).or_default()
    }

    pub(super) fn driver(&mut self, id: u64) -> &mut Driver<Disk> {
        self.node(id).driver.as_mut().unwrap()
    }

    fn tick(&mut self, id: u64, ticks: u64) {
        for _ in 0..ticks {
            self.driver(id).tick();
            self.drain(id);
        }
    }

    fn propose(&mut self, id: u64, text: &str) {
        let data = text.to_owned().into_bytes().into();
        let proposed = self.driver(id).propose(data);
        match proposed {
            Ok(at) => self.say(format!("n{id} appends {text} at {}/{}", at.term, at.index)),
            Err(refused) => self.say(format!("n{id} refuses {text}: {refused}")),
        }
        self.drain(id);
    }

    /// `change 1 l4 v2 r3`: a learner, a voter, and one to go. With `no` at the end the state will
    /// refuse it.
    fn change(&mut self, id: u64, words: &[&str]) {
        let context = if words.contains(&"no") { "no" } else { "yes" };
        let parts = words.iter().filter(|word| **word != "no").map(|word| part(word));
        let change = MembershipChange { changes: parts.collect() };
        let proposed = self.driver(id).propose_change(&change, context.into());
        let change = show_change(&change);
        match proposed {
            Ok(at) => self.say(format!("n{id} appends{change} at {}/{}", at.term, at.index)),
            Err(refused) => self.say(format!("n{id} refuses{change}: {refused}")),
        }
        self.drain(id);
    }

    fn transfer(&mut self, id: u64, to: u64) {
        match self.driver(id).transfer_leader(to) {
            Ok(()) => self.say(format!("n{id} offers leadership to n{to}")),
            Err(refused) => self.say(format!("n{id} does not: {refused}")),
        }
        self.drain(id);
    }

    fn read(&mut self, id: u64, token: u64) {
        let newest = self.truth.committed.last_key_value().map_or(0, |(index, _)| *index);
        self.truth.asked.insert((id, token), newest);
        self.driver(id).read_index(token);
        self.drain(id);
    }

    fn snapshot(&mut self, id: u64) {
        let node = self.node(id);
        let position = node.disk.0.borrow().position(node.applied);
        let (membership, descriptor) = (node.membership.clone(), Default::default());
        let meta = SnapshotMeta { position, membership, descriptor };
        node.disk.0.borrow_mut().snapshots.push(meta.clone());
        self.driver(id).snapshot_made(meta);
        self.node(id).wants = false;
        self.say(format!("n{id} has a snapshot at {}/{}", position.term, position.index));
        self.drain(id);
    }

    fn compact(&mut self, id: u64, index: u64) {
        let position = self.node(id).disk.0.borrow().position(index);
        if let Err(refused) = self.driver(id).compact(position) {
            self.say(format!("n{id} does not compact: {refused}"));
        }
        self.drain(id);
    }

    /// What the leader offered is here, durably.
    fn fetch(&mut self, id: u64) {
        let meta = self.node(id).offer.take().expect("an offer").meta;
        self.node(id).disk.0.borrow_mut().snapshots.push(meta.clone());
        self.driver(id).install(meta.clone());
        self.driver(id).snapshot_made(meta);
        self.drain(id);
    }

    fn install(&mut self, id: u64, meta: SnapshotMeta) {
        let index = meta.position.index;
        self.say(format!("n{id} becomes the snapshot at {}/{index}", meta.position.term));
        let node = self.node(id);
        (node.applied, node.membership) = (index, meta.membership);
        match &mut node.slow_install {
            Some(waits) => *waits = Some(index),
            None => node.driver.as_mut().unwrap().snapshot_installed(index),
        }
    }

    fn quick_state(&mut self, id: u64) {
        let waited = self.node(id).slow_install.take().flatten();
        self.driver(id).snapshot_installed(waited.expect("an install that waits"));
        let waiting = std::mem::take(&mut self.node(id).waiting);
        self.apply_all(id, &waiting);
        self.drain(id);
    }

    fn hand_over(&mut self, id: u64) {
        let offered = self.driver(id).hand_over();
        let to = offered.map_or("nobody".to_owned(), |to| format!("n{to}"));
        self.say(format!("n{id} offers leadership to {to}"));
        self.drain(id);
    }

    fn crash(&mut self, id: u64) {
        let node = self.node(id);
        node.driver = None;
        node.disk.0.borrow_mut().queue.clear();
    }

    /// From its newest snapshot that its log goes on from, else from its log's beginning.
    fn start(&mut self, id: u64) {
        let node = self.node(id);
        let meta = node.disk.0.borrow().fitting_snapshot();
        let (applied, membership) = match &meta {
            Some(meta) => (meta.position.index, meta.membership.clone()),
            None => (0, Membership::of_voters(VOTERS)),
        };
        (node.applied, node.membership) = (applied, membership.clone());
        (node.offer, node.wants, node.lives) = (None, false, node.lives + 1);
        (node.slow_install, node.waiting) = (None, Vec::new());
        let jitter_seed = 6 + node.lives;
        let config =
            DriverConfig { node_id: id, applied, membership, jitter_seed, tail_bytes_max: 0 };
        let mut driver = Driver::new(&config, node.disk.clone(), node.disk.recover()).unwrap();
        meta.into_iter().for_each(|meta| driver.snapshot_made(meta));
        node.driver = Some(driver);
        self.drain(id);
    }

    /// Flushes and delivers until nobody has anything left to do.
    fn settle(&mut self) {
        loop {
            let ids: Vec<u64> = self.nodes.keys().copied().collect();
            let flushed = ids.into_iter().filter(|id| self.flush(*id)).count();
            match self.messages.pop_front() {
                Some(message) => self.deliver(message),
                None if flushed == 0 => return,
                None => {}
            }
        }
    }

    pub(super) fn flush(&mut self, id: u64) -> bool {
        let node = self.node(id);
        let (Some(driver), Some(number)) = (&mut node.driver, node.disk.flush()) else {
            return false;
        };
        driver.persisted(number);
        self.drain(id);
        true
    }

    pub(super) fn deliver(&mut self, message: Message) {
        let (from, to) = (message.from, message.to);
        let line = show(&message);
        let lost = self.cut.contains(&(from, to));
        let Some(driver) = self.node(to).driver.as_mut().filter(|_| !lost) else {
            return self.say(format!("{line} LOST"));
        };
        let taken = driver.message(message);
        self.say(line);
        if let Err(refused) = taken {
            assert_ne!(refused.slug(), "log_lost", "n{to} lost nothing");
            self.say(format!("n{to} refuses it: {refused}"));
        }
        self.drain(to);
    }

    /// Takes everything the driver has to say.
    fn drain(&mut self, id: u64) {
        while let Some(output) = self.node(id).driver.as_mut().and_then(Driver::take_output) {
            self.take(id, output);
        }
    }

    fn take(&mut self, id: u64, output: Output) {
        if let Some(change) = output.role {
            let leader = change.leader.map_or("nobody".to_owned(), |leader| format!("n{leader}"));
            let role = change.role.slug();
            self.say(format!("n{id} {role} term={} following {leader}", change.term));
        }
        if let Some(meta) = output.install {
            self.install(id, meta);
        }
        match self.node(id).slow_install {
            Some(Some(_)) => self.node(id).waiting.extend(output.committed),
            _ => self.apply_all(id, &output.committed),
        }
        for read in output.reads {
            let asked = self.truth.asked[&(id, read.token)];
            assert!(
                read.index >= asked,
                "n{id} read {} at {}, not {asked}",
                read.token,
                read.index
            );
            self.say(format!("n{id} may answer read {} at index {}", read.token, read.index));
        }
        if let Some(offer) = output.offer {
            let Position { index, term } = offer.meta.position;
            self.say(format!("n{id} is offered a snapshot at {term}/{index}"));
            self.node(id).offer = Some(offer);
        }
        if output.snapshot_wanted {
            self.say(format!("n{id} wants a snapshot to offer"));
            self.node(id).wants = true;
        }
        if let Some(position) = output.compact {
            self.say(format!("n{id} lets go of its log up to {}", position.index));
            self.node(id).disk.0.borrow_mut().compact(position);
        }
        // Whom nobody has heard has not led: a crash may make it forget.
        for message in output.messages.iter().filter(|m| m.msg_type == MessageType::MsgAppend) {
            let leader = *self.truth.leaders.entry(message.term).or_insert(id);
            assert_eq!(leader, id, "one leader in term {}", message.term);
        }
        self.messages.extend(output.messages);
        if let Some(task) = output.write {
            self.node(id).disk.0.borrow_mut().queue.push(task);
        }
    }

    fn apply_all(&mut self, id: u64, entries: &[Entry]) {
        entries.iter().for_each(|entry| self.apply(id, entry));
        if let Some(entry) = entries.last() {
            self.driver(id).applied(entry.index);
        }
    }

    fn apply(&mut self, id: u64, entry: &Entry) {
        let text = show_data(entry);
        self.say(format!("n{id} commits {}/{} {text}", entry.term, entry.index));
        let first = self.truth.committed.entry(entry.index).or_insert_with(|| entry.clone());
        assert_eq!(first, entry, "n{id} commits another entry");
        self.node(id).applied = entry.index;
        if entry.get_entry_type() == EntryType::EntryNormal {
            return;
        }
        let before = &self.node(id).membership;
        let change = conf_change::decode(&entry.data).unwrap();
        let after = match &entry.context[..] {
            b"yes" => before.after(&change).ok(),
            b"" => before.left_joint(),
            _ => None,
        };
        match &after {
            Some(after) => {
                self.node(id).membership = after.clone();
                self.say(format!("n{id} has {}", show_membership(after)));
            }
            None => self.say(format!("n{id} refuses it")),
        }
        let first = self.truth.memberships.entry(entry.index).or_insert_with(|| after.clone());
        assert_eq!(*first, after, "n{id} decides otherwise");
        self.driver(id).change_applied(entry.index, after);
    }

    fn say(&mut self, line: String) {
        writeln!(self.said, "{line}").unwrap();
    }
}

fn show(m: &Message) -> String {
    let kind = format!("{:?}", m.msg_type);
    let mut line = format!("n{} -> n{} {} term={}", m.from, m.to, &kind[3..], m.term);
    if m.index > 0 {
        write!(line, " at={}/{}", m.log_term, m.index).unwrap();
    }
    for entry in m.entries.iter().filter(|entry| entry.index > 0) {
        write!(line, " +{}/{}:{}", entry.term, entry.index, show_data(entry)).unwrap();
    }
    if m.has_snapshot() {
        let meta = m.get_snapshot().get_metadata();
        write!(line, " snapshot={}/{}", meta.term, meta.index).unwrap();
    }
    if m.commit > 0 {
        write!(line, " commit={}", m.commit).unwrap();
    }
    line + if m.reject { " REJECT" } else { "" }
}

fn show_data(entry: &Entry) -> String {
    match entry.get_entry_type() {
        EntryType::EntryNormal => format!("{:?}", String::from_utf8_lossy(&entry.data)),
        _ => format!("change{}", show_change(&conf_change::decode(&entry.data).unwrap())),
    }
}

fn show_change(change: &MembershipChange) -> String {
    let show = |(id, part): &(u64, Part)| match part {
        Part::Voter => format!(" n{id}:voter"),
        Part::Learner => format!(" n{id}:learner"),
        Part::Gone => format!(" n{id}:gone"),
    };
    match change.changes.is_empty() {
        true => " to the new majority alone".to_owned(),
        false => change.changes.iter().map(show).collect(),
    }
}

fn show_membership(members: &Membership) -> String {
    let mut shown = format!("voters {:?}", members.voters);
    for (name, part) in [
        ("and before", &members.voters_outgoing),
        ("learners", &members.learners),
        ("soon learners", &members.learners_next),
    ] {
        if !part.is_empty() {
            write!(shown, ", {name} {part:?}").unwrap();
        }
    }
    shown
}

/// `v4`, `l4`, `r4`.
fn part(word: &str) -> (u64, Part) {
    let part = match &word[..1] {
        "v" => Part::Voter,
        "l" => Part::Learner,
        "r" => Part::Gone,
        other => panic!("no such part: {other}"),
    };
    (word[1..].parse().unwrap(), part)
}
