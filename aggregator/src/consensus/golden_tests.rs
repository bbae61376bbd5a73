//! The driver as transcripts: commands, then everything three replicas said and did.
//!
//! `UPDATE=1 cargo test -p proofmark-aggregator golden` writes the transcripts anew. Commit the
//! changes only if you understand what caused them.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;

use super::driver::{Driver, DriverConfig, Entry, HardState, Message, Output, WriteTask};
use super::membership::Membership;
use super::storage::{LogSource, LogUnreadable, RecoveredLog};

const VOTERS: [u64; 3] = [1, 2, 3];

/// A log in memory; what was not flushed is gone after a crash.
#[derive(Clone, Default)]
struct Disk(Rc<RefCell<Platter>>);

#[derive(Default)]
struct Platter {
    entries: Vec<Entry>,
    hard_state: HardState,
    queue: Vec<WriteTask>,
    stuck: bool,
}

struct Node {
    driver: Option<Driver<Disk>>,
    disk: Disk,
}

/// Three nodes, links that can be cut in one direction, and the transcript.
struct Stage {
    nodes: Vec<Node>,
    messages: VecDeque<Message>,
    cut: BTreeSet<(u64, u64)>,
    said: String,
}

impl LogSource for Disk {
    fn fetch(&self, low: u64, high: u64, _: u64) -> Result<Vec<Entry>, LogUnreadable> {
        Ok(self.0.borrow().entries[low as usize - 1..high as usize - 1].to_vec())
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
        for task in tasks {
            if let Some(first) = task.entries.first() {
                platter.entries.truncate(first.index as usize - 1);
                platter.entries.extend(task.entries);
            }
            platter.hard_state = task.hard_state.unwrap_or(platter.hard_state.clone());
        }
        newest
    }

    fn recover(&self) -> RecoveredLog {
        let platter = self.0.borrow();
        let last_index = platter.entries.len() as u64;
        let hard_state = platter.hard_state.clone();
        RecoveredLog { hard_state, voters: VOTERS.to_vec(), last_index, ..RecoveredLog::default() }
    }
}

impl Stage {
    fn new() -> Self {
        let node = |_| Node { driver: None, disk: Disk::default() };
        let nodes = VOTERS.map(node).into();
        let (messages, cut, said) = Default::default();
        let mut stage = Self { nodes, messages, cut, said };
        VOTERS.iter().for_each(|id| stage.start(*id));
        stage
    }

    fn run(&mut self, command: &str) {
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
            "stand-down" => self.node(number(1)).driver.as_mut().unwrap().stand_down(),
            "crash" => self.crash(number(1)),
            "start" => self.start(number(1)),
            other => panic!("no such command: {other}"),
        }
    }

    fn node(&mut self, id: u64) -> &mut Node {
        &mut self.nodes[id as usize - 1]
    }

    fn tick(&mut self, id: u64, ticks: u64) {
        for _ in 0..ticks {
            self.node(id).driver.as_mut().unwrap().tick();
            self.drain(id);
        }
    }

    fn propose(&mut self, id: u64, text: &str) {
        let data = text.to_owned().into_bytes().into();
        let proposed = self.node(id).driver.as_mut().unwrap().propose(data);
        match proposed {
            Ok(at) => self.say(format!("n{id} appends {text} at {}/{}", at.term, at.index)),
            Err(refused) => self.say(format!("n{id} refuses {text}: {refused}")),
        }
        self.drain(id);
    }

    fn hand_over(&mut self, id: u64) {
        let offered = self.node(id).driver.as_mut().unwrap().hand_over();
        let to = offered.map_or("nobody".to_owned(), |to| format!("n{to}"));
        self.say(format!("n{id} offers leadership to {to}"));
        self.drain(id);
    }

    fn crash(&mut self, id: u64) {
        let node = self.node(id);
        node.driver = None;
        node.disk.0.borrow_mut().queue.clear();
    }

    fn start(&mut self, id: u64) {
        let node = self.node(id);
        let membership = Membership::of_voters(VOTERS);
        let config =
            DriverConfig { node_id: id, applied: 0, membership, jitter_seed: 7, tail_bytes_max: 0 };
        node.driver = Some(Driver::new(&config, node.disk.clone(), node.disk.recover()).unwrap());
        self.drain(id);
    }

    /// Flushes and delivers until nobody has anything left to do.
    fn settle(&mut self) {
        loop {
            let flushed = VOTERS.iter().filter(|id| self.flush(**id)).count();
            match self.messages.pop_front() {
                Some(message) => self.deliver(message),
                None if flushed == 0 => return,
                None => {}
            }
        }
    }

    fn flush(&mut self, id: u64) -> bool {
        let node = self.node(id);
        let (Some(driver), Some(number)) = (&mut node.driver, node.disk.flush()) else {
            return false;
        };
        driver.persisted(number);
        self.drain(id);
        true
    }

    fn deliver(&mut self, message: Message) {
        let (from, to) = (message.from, message.to);
        let line = show(&message);
        let lost = self.cut.contains(&(from, to));
        let Some(driver) = self.node(to).driver.as_mut().filter(|_| !lost) else {
            return self.say(format!("{line} LOST"));
        };
        let taken = driver.message(message);
        self.say(line);
        if let Err(refused) = taken {
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
        for entry in &output.committed {
            let text = String::from_utf8_lossy(&entry.data);
            self.say(format!("n{id} commits {}/{} {text:?}", entry.term, entry.index));
        }
        if let Some(index) = output.committed.last().map(|entry| entry.index) {
            self.node(id).driver.as_mut().unwrap().applied(index);
        }
        self.messages.extend(output.messages);
        if let Some(task) = output.write {
            self.node(id).disk.0.borrow_mut().queue.push(task);
        }
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
    for entry in &m.entries {
        let text = String::from_utf8_lossy(&entry.data);
        write!(line, " +{}/{}:{text:?}", entry.term, entry.index).unwrap();
    }
    if m.commit > 0 {
        write!(line, " commit={}", m.commit).unwrap();
    }
    line + if m.reject { " REJECT" } else { "" }
}

/// Runs the commands of a transcript and compares what was said.
fn check(name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/consensus/golden").join(name);
    let expect = std::fs::read_to_string(&file).unwrap();
    let mut stage = Stage::new();
    let mut got = String::new();
    for block in expect.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let commands = block.split("----").next().unwrap().trim();
        commands.lines().filter(|line| !line.starts_with('#')).for_each(|line| stage.run(line));
        let said = std::mem::take(&mut stage.said);
        writeln!(got, "{commands}\n----\n{said}").unwrap();
    }
    if std::env::var_os("UPDATE").is_some() {
        return std::fs::write(&file, &got).unwrap();
    }
    assert_eq!(got.trim_end(), expect.trim_end(), "{name}: UPDATE=1 writes it anew");
}

#[test]
fn golden_election_and_replication() {
    check("election_and_replication.txt");
}

#[test]
fn golden_leader_crashes_before_it_commits() {
    check("leader_crashes_before_it_commits.txt");
}

#[test]
fn golden_one_way_partition() {
    check("one_way_partition.txt");
}

#[test]
fn golden_nothing_is_confirmed_before_it_is_durable() {
    check("nothing_is_confirmed_before_it_is_durable.txt");
}

#[test]
fn golden_leadership_is_handed_over() {
    check("leadership_is_handed_over.txt");
}
