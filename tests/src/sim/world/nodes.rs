//! What nodes do, and what becomes of it.

use proofmark_aggregator::command::{COMMANDS_NEWEST, Command};
use proofmark_aggregator::consensus::Role;
use proofmark_aggregator::consensus::driver::{Message, RoleChange};

use super::power::End;
use super::{Event, Phase, World};
use crate::sim::Planted;
use crate::sim::nemesis;
use crate::sim::network::Place;
use crate::sim::replica::{Asker, NoStart, Request};

/// States are compared byte by byte at every index divisible by this: encoding one is the most
/// expensive thing in a run. What applying does is compared at every index.
const STATE_EVERY: u64 = 64;
const SEAL_MS: u64 = 900;

impl World {
    pub(super) fn tick(&mut self, node: usize, again: bool) -> Result<(), String> {
        if again {
            self.plan(self.nodes[node].tick_ms, Event::Tick { node, again });
        }
        match &mut self.nodes[node].replica.up {
            Some(up) if self.planted == Some(Planted::TickDuringInstall) => up.driver.tick_always(),
            Some(up) => up.driver.tick(),
            None => return Ok(()),
        }
        self.settle(node)
    }

    pub(super) fn deliver(&mut self, message: Message) -> Result<(), String> {
        if self.phase == Phase::Cruel {
            nemesis::strike_voter(self, &message)?;
        }
        let node = usize::try_from(message.to - 1).expect("a node");
        let Some(up) = &mut self.nodes[node].replica.up else { return Ok(()) };
        // All peers are the same program: none of their messages may be refused.
        up.driver.message(message).map_err(|refused| format!("node {}: {refused}", node + 1))?;
        self.settle(node)
    }

    /// The log thread: everything queued is one write and one flush.
    pub(super) fn flush(&mut self, node: usize, life: u64) -> Result<(), String> {
        if !self.lives(node, life) {
            return Ok(());
        }
        let planted = self.planted;
        let number = self.up(node).log.finish_flush(planted);
        let mut durable = None;
        self.or_crash(node, number.map(|number| durable = number))?;
        if self.planted != Some(Planted::AckBeforeFsync)
            && let (Some(number), Some(up)) = (durable, &mut self.nodes[node].replica.up)
        {
            up.driver.persisted(number);
        }
        self.settle(node)
    }

    pub(super) fn apply(&mut self, node: usize, life: u64) -> Result<(), String> {
        if !self.lives(node, life) || self.up(node).installing.is_some() {
            return Ok(());
        }
        let specs_before = self.specs_revision(node);
        while let Some(entry) = self.up(node).apply_queue.pop_front() {
            let planted = self.planted;
            let done = self.up(node).apply(&entry, planted)?;
            let (node_id, index) = (self.nodes[node].replica.id, entry.index);
            self.oracle.applied(node_id, index, done.applied.digest)?;
            if index.is_multiple_of(STATE_EVERY) {
                let bytes = self.up(node).machine.state.encode();
                self.oracle.state(node_id, index, &bytes)?;
            }
            self.tell_applied(node, &done.applied.commands);
            for (request, outcome) in done.answers {
                self.answer(node, request, outcome)?;
            }
        }
        self.finish_reads(node)?;
        if self.specs_revision(node) != specs_before {
            self.tell_specs(node);
        }
        if !self.up(node).recorder_queue.is_empty() {
            let in_ms = self.rng.between(1, 30);
            self.plan(in_ms, Event::Record { node, life });
        }
        self.settle(node)
    }

    fn tell_applied(&mut self, node: usize, commands: &[Command]) {
        for command in commands {
            if let Command::ApplySpec { .. }
            | Command::Genesis { .. }
            | Command::Enrol { .. }
            | Command::RaiseVersion { .. } = command
            {
                let slug = command.slug();
                self.say(|| format!("node {} applies {slug}", node + 1));
            }
        }
    }

    /// The recorder's thread: all that is queued, then one look at what is published.
    pub(super) fn record(&mut self, node: usize, life: u64) -> Result<(), String> {
        if !self.lives(node, life) {
            return Ok(());
        }
        let now_ms = self.node_unix_ms(node);
        let up = self.up(node);
        up.clock.set_unix_ms(now_ms);
        let done = up.record_all();
        self.or_crash(node, done)?;
        self.look_at_published(node)?;
        self.settle(node)
    }

    pub(super) fn save(&mut self, node: usize) -> Result<(), String> {
        let in_ms = self.rng.between(1_500, 6_000);
        self.plan(in_ms, Event::Save { node });
        let done = self.nodes[node].replica.save();
        self.or_crash(node, done)?;
        self.look_at_published(node)?;
        self.settle(node)
    }

    /// Once a second the leader begins the log, if nobody has, and lets time pass.
    pub(super) fn duty(&mut self, node: usize) -> Result<(), String> {
        self.plan(1_000, Event::Duty { node });
        if !self.nodes[node].replica.leads() || self.phase == Phase::Quiet {
            return Ok(());
        }
        if self.up(node).machine.state.genesis().is_none() {
            let (origin, log_key) = (self.cast.origin.clone(), self.cast.log_key.public());
            let nodes = self.cast.genesis_nodes();
            let genesis = Command::Genesis { origin, log_key, nodes };
            self.up(node).request(Request::new(Asker::Nobody, &genesis));
        }
        let version = self.up(node).machine.state.version();
        let has_begun = self.up(node).machine.state.genesis().is_some();
        if has_begun && version < COMMANDS_NEWEST && self.now_ms >= self.upgrade_at_ms {
            let raise = Command::RaiseVersion { to: version + 1, founders: self.cast.founders() };
            self.up(node).request(Request::new(Asker::Nobody, &raise));
        }
        self.up(node).request(Request::new(Asker::Nobody, &Command::Tick));
        self.settle(node)
    }

    pub(super) fn seal(&mut self, node: usize) -> Result<(), String> {
        self.plan(SEAL_MS, Event::Seal { node });
        if self.nodes[node].replica.leads() {
            self.up(node).recorder.propose_seal();
        }
        self.settle(node)
    }

    pub(super) fn restart(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].replica.broken.is_some() {
            if self.phase > Phase::Cruel {
                self.repair_node(node);
            }
            return Ok(());
        }
        if self.nodes[node].replica.is_up() {
            return Ok(());
        }
        let (jitter_seed, unix_ms) = (self.rng.next(), self.node_unix_ms(node));
        let started = self.nodes[node].replica.start(&self.cast, unix_ms, jitter_seed);
        match started {
            Ok(()) => self.started(node)?,
            Err(NoStart::Struck) => return self.struck(node),
            Err(NoStart::Damaged(why)) => return self.damaged(node, why),
        }
        self.settle(node)
    }

    /// Carries away everything a replica has to say.
    pub(super) fn settle(&mut self, node: usize) -> Result<(), String> {
        if !self.nodes[node].replica.is_up() {
            return Ok(());
        }
        self.vouched(node)?;
        let now_ms = self.node_unix_ms(node);
        let round = self.nodes[node].replica.settle(now_ms);
        let (id, life) = (self.nodes[node].replica.id, self.nodes[node].replica.life);
        self.tell_role(id, round.role);
        if let Some(term) = round.leads_term {
            self.oracle.leader(id, term)?;
            self.count_again(node);
        }
        for entry in &round.committed {
            self.oracle.committed(id, entry)?;
        }
        if !round.committed.is_empty() {
            let in_ms = self.rng.between(0, 5);
            self.plan(in_ms, Event::Apply { node, life });
        }
        for message in round.messages {
            self.send(node, message);
        }
        for (request, outcome) in round.answers {
            self.answer(node, request, outcome)?;
        }
        for (to, request) in round.forwards {
            self.forward(node, to, request);
        }
        self.answer_reads(node, &round.reads)?;
        self.compacted(node, round.compact)?;
        if let Some(meta) = round.install.filter(|_| self.lives(node, life)) {
            self.starts_over(node, meta);
        }
        if self.nodes[node].replica.is_up() && self.up(node).log.start_flush() {
            let in_ms = self.flush_ms(node);
            self.plan(in_ms, Event::Flush { node, life });
        }
        Ok(())
    }

    fn tell_role(&mut self, id: u64, role: Option<RoleChange>) {
        let Some(RoleChange { role, term, leader }) = role else { return };
        self.say(|| match (role, leader) {
            (Role::Leader, _) => format!("node {id} leads term {term}"),
            (Role::Candidate, _) => format!("node {id} hears no leader and asks for votes"),
            (Role::Follower, Some(leader)) => {
                format!("node {id} follows node {leader}, term {term}")
            }
            (Role::Follower, None) => format!("node {id} has no leader, term {term}"),
        });
    }

    /// Roots that the recorder is about to propose or to sign.
    fn vouched(&mut self, node: usize) -> Result<(), String> {
        let id = self.nodes[node].replica.id;
        let proposals = self.up(node).proposals.lock().expect("one thread").clone();
        for command in proposals {
            match command {
                Command::Cosign { size, root, .. } => self.oracle.cosigned(id, size, root)?,
                Command::Seal { size, root } => self.oracle.root(id, size, root)?,
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn look_at_published(&mut self, node: usize) -> Result<(), String> {
        let Some(up) = &self.nodes[node].replica.up else { return Ok(()) };
        if let Some(why) = up.health.divergence() {
            if self.rotten_node == Some(node) && self.faults.bit_flips > 0 {
                let why = why.to_string();
                self.crash_node(node, End::Killed, 0);
                return self.damaged(node, why);
            }
            return Err(format!("node {} diverged: {why}", node + 1));
        }
        let size = up.recorder.status().published_size;
        if size == self.nodes[node].published_size {
            return Ok(());
        }
        let note = up.recorder.note();
        self.nodes[node].published_size = size;
        self.oracle.published(self.nodes[node].replica.id, &note)?;
        self.say(|| format!("node {} publishes {size} leaves", node + 1));
        self.tell_checkpoint(node, &note);
        Ok(())
    }

    fn send(&mut self, node: usize, message: Message) {
        if message.to == message.from {
            return; // no replica has a stream to itself
        }
        let to = usize::try_from(message.to - 1).expect("a node");
        for delay_ms in self.network.delays_ms(Place::Node(node), Place::Node(to), &mut self.rng) {
            self.plan(delay_ms, Event::Deliver { message: Box::new(message.clone()) });
        }
    }

    fn flush_ms(&mut self, node: usize) -> u64 {
        match self.nodes[node].slow_ms {
            0 if self.rng.chance_permille(30) => self.rng.between(20, 200),
            0 => self.rng.between(0, 5),
            slow_ms => self.rng.between(slow_ms / 2, slow_ms),
        }
    }

    /// Planted: a new leader takes its newest batch for one that nobody has counted.
    fn count_again(&mut self, node: usize) {
        if self.planted == Some(Planted::DoubleCountAfterFailover) {
            let up = self.up(node);
            if let Some(command) = up.machine.newest_batch_renumbered() {
                up.request(Request::new(Asker::Nobody, &command));
            }
        }
    }

    pub(super) fn lives(&self, node: usize, life: u64) -> bool {
        let replica = &self.nodes[node].replica;
        replica.is_up() && replica.life == life
    }

    pub(super) fn up(&mut self, node: usize) -> &mut crate::sim::replica::Up {
        self.nodes[node].replica.up.as_mut().expect("the caller saw it up")
    }

    fn specs_revision(&mut self, node: usize) -> u64 {
        self.up(node).machine.state.specs().newest().map_or(0, |(revision, _)| revision)
    }
}
