//! The event loop: one queue, one clock, one thing at a time.

use std::collections::BTreeMap;

use proofmark_aggregator::command::{Command, Reply};
use proofmark_aggregator::consensus::ProposalOutcome;
use proofmark_aggregator::consensus::driver::Message;

use super::client::{self, BEGIN_MS, Client};
use super::nemesis;
use super::network::{CLIENTS, Network};
use super::oracle::Oracle;
use super::replica::{Replica, Request};
use super::rng::Rng;
use super::trace::Trace;
use super::{Faults, Planted};

/// How long a healed cluster has to get everything through, in virtual milliseconds.
const HEALING_MS_MAX: u64 = 60_000;

/// Something that will happen at its time.
pub(super) enum Event {
    /// `again`: the node's clock goes on; otherwise it only jumps.
    Tick {
        node: usize,
        again: bool,
    },
    Deliver {
        message: Box<Message>,
    },
    Flushed {
        node: usize,
        life: u64,
    },
    Apply {
        node: usize,
        life: u64,
    },
    Save {
        node: usize,
    },
    Request {
        node: usize,
        request: Request,
    },
    Answer {
        client: usize,
        number: u64,
        outcome: ProposalOutcome,
    },
    Wake {
        client: usize,
    },
    Restart {
        node: usize,
    },
    Nemesis,
}

/// Everything there is.
pub(super) struct World {
    pub(super) now_ms: u64,
    pub(super) rng: Rng,
    /// By time, then by the order in which they were planned.
    queue: BTreeMap<(u64, u64), Event>,
    planned: u64,
    pub(super) replicas: Vec<Replica>,
    /// Milliseconds per tick, each node's own: clocks run at different speeds.
    tick_ms: Vec<u64>,
    ticks: Vec<u64>,
    clients: Vec<Client>,
    pub(super) network: Network,
    pub(super) oracle: Oracle,
    pub(super) faults: Faults,
    pub(super) acks: u64,
    pub(super) trace: Trace,
    /// The world has stopped being cruel, and nobody starts anything new.
    healing: bool,
    planted: Option<Planted>,
}

impl World {
    pub(super) fn new(seed: u64, planted: Option<Planted>, trace: Trace) -> Self {
        let mut rng = Rng::new(seed);
        let count = if rng.chance_permille(250) { 5 } else { 3 };
        let voters: Vec<u64> = (1..=count).collect();
        let replicas = voters.iter().map(|id| Replica::new(*id, &voters, planted)).collect();
        let tick_ms = voters.iter().map(|_| rng.between(70, 140)).collect();
        let clients = client::cast(rng.between(2, 4));
        let mut world = Self {
            now_ms: 0,
            rng,
            queue: BTreeMap::new(),
            planned: 0,
            replicas,
            tick_ms,
            ticks: vec![0; voters.len()],
            clients,
            network: Network::default(),
            oracle: Oracle::default(),
            faults: Faults::default(),
            acks: 0,
            trace,
            healing: false,
            planted,
        };
        world.plan_beginning();
        world
    }

    fn plan_beginning(&mut self) {
        for node in 0..self.replicas.len() {
            self.plan(0, Event::Restart { node });
            self.plan(self.tick_ms[node], Event::Tick { node, again: true });
            self.plan(2_000, Event::Save { node });
        }
        for client in 0..self.clients.len() {
            self.plan(10, Event::Wake { client });
        }
        self.plan(1_500, Event::Nemesis);
    }

    /// The safety phase: this many events of a cruel world.
    pub(super) fn suffer(&mut self, steps: u64) -> Result<(), String> {
        (0..steps).try_for_each(|_| self.step())
    }

    /// The liveness phase: everything works again, and everything begun must end.
    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.healing = true;
        self.network.heal();
        // For those that run already this does nothing.
        (0..self.replicas.len()).for_each(|node| self.plan(0, Event::Restart { node }));
        let deadline_ms = self.now_ms + HEALING_MS_MAX;
        while !self.is_settled() {
            if self.now_ms > deadline_ms {
                return Err(format!("not settled {HEALING_MS_MAX} ms after everything was healed"));
            }
            self.step()?;
        }
        for replica in &self.replicas {
            self.oracle.finished(replica.node_id, &replica.machine)?;
        }
        Ok(())
    }

    pub(super) fn plan(&mut self, in_ms: u64, event: Event) {
        self.planned += 1;
        self.queue.insert((self.now_ms + in_ms, self.planned), event);
    }

    /// A message under way of which `is_it` holds.
    pub(super) fn find_message(&self, is_it: impl Fn(&Message) -> bool) -> Option<&Message> {
        self.queue.values().find_map(|event| match event {
            Event::Deliver { message } if is_it(message) => Some(&**message),
            _ => None,
        })
    }

    fn is_settled(&self) -> bool {
        let committed = self.oracle.committed_count();
        self.clients.iter().all(Client::is_idle)
            && self.replicas.iter().all(|r| r.is_up() && r.machine.applied() == committed)
    }

    fn step(&mut self) -> Result<(), String> {
        let ((at_ms, _), event) = self.queue.pop_first().expect("ticks never end");
        self.now_ms = at_ms;
        self.trace.event(at_ms, &event);
        match event {
            Event::Tick { node, again } => self.tick(node, again),
            Event::Deliver { message } => self.deliver(*message),
            Event::Flushed { node, life } => self.flushed(node, life),
            Event::Apply { node, life } => self.apply(node, life),
            Event::Save { node } => self.save(node),
            Event::Request { node, request } => self.request(node, request),
            Event::Answer { client, number, outcome } => self.answered(client, number, &outcome),
            Event::Wake { client } => self.wake(client),
            Event::Restart { node } => self.restart(node),
            Event::Nemesis => self.nemesis(),
        }
    }

    fn tick(&mut self, node: usize, again: bool) -> Result<(), String> {
        if again {
            self.plan(self.tick_ms[node], Event::Tick { node, again });
        }
        let Some(driver) = &mut self.replicas[node].driver else { return Ok(()) };
        driver.tick();
        self.ticks[node] += 1;
        if self.ticks[node].is_multiple_of(10) && !self.healing {
            let command = Command::Tick.encode();
            self.replicas[node].request(Request { client: None, number: 0, command });
        }
        self.settle(node)
    }

    fn deliver(&mut self, message: Message) -> Result<(), String> {
        if !self.healing {
            nemesis::strike_voter(self, &message);
        }
        let node = usize::try_from(message.to - 1).expect("a node");
        let Some(driver) = &mut self.replicas[node].driver else { return Ok(()) };
        // All peers are the same program: none of their messages may be refused.
        driver.message(message).map_err(|refused| format!("node {}: {refused}", node + 1))?;
        self.settle(node)
    }

    fn flushed(&mut self, node: usize, life: u64) -> Result<(), String> {
        let replica = &mut self.replicas[node];
        if replica.life != life || !replica.is_up() {
            return Ok(());
        }
        let number = replica.disk.finish_flush();
        if self.planted != Some(Planted::AckBeforePersist)
            && let (Some(number), Some(driver)) = (number, &mut replica.driver)
        {
            driver.persisted(number);
        }
        self.settle(node)
    }

    fn apply(&mut self, node: usize, life: u64) -> Result<(), String> {
        if self.replicas[node].life != life {
            return Ok(());
        }
        while let Some(entry) = self.replicas[node].apply_queue.pop_front() {
            let replica = &mut self.replicas[node];
            let replies = replica.apply(&entry)?;
            self.oracle.applied(replica.node_id, &replica.machine)?;
            for (request, reply) in replies {
                self.answer(node, request, ProposalOutcome::Applied(reply));
            }
        }
        self.settle(node)
    }

    fn save(&mut self, node: usize) -> Result<(), String> {
        let in_ms = self.rng.between(500, 5_000);
        self.plan(in_ms, Event::Save { node });
        if self.replicas[node].is_up() {
            self.replicas[node].save();
        }
        Ok(())
    }

    fn request(&mut self, node: usize, request: Request) -> Result<(), String> {
        if self.replicas[node].is_up() {
            self.replicas[node].request(request);
        }
        self.settle(node)
    }

    fn restart(&mut self, node: usize) -> Result<(), String> {
        if self.replicas[node].is_up() {
            return Ok(());
        }
        let jitter_seed = self.rng.next();
        self.replicas[node].start(jitter_seed)?;
        self.settle(node)
    }

    fn nemesis(&mut self) -> Result<(), String> {
        if !self.healing {
            nemesis::strike(self);
            let in_ms = self.rng.between(100, 2_500);
            self.plan(in_ms, Event::Nemesis);
        }
        Ok(())
    }

    /// A client has something to say, or says it again.
    fn wake(&mut self, client: usize) -> Result<(), String> {
        let may_begin = !self.healing && (client == 0 || self.clients[0].is_finished());
        let speaker = &mut self.clients[client];
        let has_command = !speaker.is_idle() || (may_begin && speaker.begin(self.now_ms));
        let in_ms = self.rng.between(300, 1_500);
        self.plan(in_ms, Event::Wake { client });
        if has_command {
            self.send_request(client);
        }
        Ok(())
    }

    fn send_request(&mut self, client: usize) {
        let node = self.rng.index(self.replicas.len());
        let speaker = &self.clients[client];
        let Some(command) = &speaker.command else { return };
        let (number, command) = (speaker.number, command.encode());
        for delay_ms in self.network.delays_ms(CLIENTS, node as u64 + 1, &mut self.rng) {
            let request = Request { client: Some(client), number, command: command.clone() };
            self.plan(delay_ms, Event::Request { node, request });
        }
    }

    fn answered(
        &mut self,
        client: usize,
        number: u64,
        outcome: &ProposalOutcome,
    ) -> Result<(), String> {
        let speaker = &mut self.clients[client];
        if speaker.number != number || speaker.is_idle() {
            return Ok(());
        }
        match outcome {
            ProposalOutcome::Applied(reply) if speaker.is_final(reply) => {
                speaker.end();
                let in_ms = self.rng.between(1, 60);
                self.plan(in_ms, Event::Wake { client });
            }
            // Another node, at once: most refusals only say that this one does not lead.
            _ => self.send_request(client),
        }
        Ok(())
    }

    /// Carries away everything a replica has to say.
    fn settle(&mut self, node: usize) -> Result<(), String> {
        let round = self.replicas[node].settle(BEGIN_MS + self.now_ms);
        let (node_id, life) = (self.replicas[node].node_id, self.replicas[node].life);
        if let Some(term) = round.leads_term {
            self.oracle.leader(node_id, term)?;
        }
        for entry in &round.committed {
            self.oracle.committed(node_id, entry)?;
        }
        if !round.committed.is_empty() {
            let in_ms = self.rng.between(0, 5);
            self.plan(in_ms, Event::Apply { node, life });
        }
        for message in round.messages {
            self.send(message);
        }
        for (request, outcome) in round.answers {
            self.answer(node, request, outcome);
        }
        if self.replicas[node].disk.start_flush() {
            let slow = self.rng.chance_permille(30);
            let in_ms = if slow { self.rng.between(50, 400) } else { self.rng.between(0, 6) };
            self.plan(in_ms, Event::Flushed { node, life });
        }
        Ok(())
    }

    fn send(&mut self, message: Message) {
        for delay_ms in self.network.delays_ms(message.from, message.to, &mut self.rng) {
            self.plan(delay_ms, Event::Deliver { message: Box::new(message.clone()) });
        }
    }

    fn answer(&mut self, node: usize, request: Request, outcome: ProposalOutcome) {
        let Some(client) = request.client else { return };
        self.note_ack(client, request.number, &outcome);
        for delay_ms in self.network.delays_ms(node as u64 + 1, CLIENTS, &mut self.rng) {
            let (number, outcome) = (request.number, outcome.clone());
            self.plan(delay_ms, Event::Answer { client, number, outcome });
        }
    }

    /// An answer counts as an acknowledgement when it leaves the leader, heard or not.
    fn note_ack(&mut self, client: usize, number: u64, outcome: &ProposalOutcome) {
        let speaker = &self.clients[client];
        let accepted = matches!(
            outcome,
            ProposalOutcome::Applied(Reply::Accepted { .. } | Reply::Duplicate { .. })
        );
        if let (true, true, Some(leaf)) = (accepted, speaker.number == number, speaker.leaf) {
            self.acks += 1;
            self.oracle.acknowledged(leaf);
        }
    }
}
