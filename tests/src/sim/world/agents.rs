//! What agents do, and what becomes of it.

use proofmark_agent::core::{Happened, Observation};
use proofmark_agent::schedule::Due;
use proofmark_agent::spool::{Order, Report};
use proofmark_agent::uplink::UplinkEvent;
use proofmark_evidence::{Header, Outcome, SealedBatch};

use super::event::Said;
use super::power::End;
use super::{Event, Phase, World};
use crate::sim::Planted;
use crate::sim::agent::must_restart;
use crate::sim::oracle::{Truth, batch_id};

impl World {
    pub(super) fn agent_start(&mut self, agent: usize) -> Result<(), String> {
        if self.agents[agent].up.is_some() {
            return Ok(());
        }
        let (now_ms, log_id) = (self.now_ms, self.cast.log_id);
        let started = self.agents[agent].start(now_ms, log_id);
        if self.agent_struck(agent) {
            return Ok(());
        }
        let damaged =
            started.map_err(|fault| format!("agent {} does not start: {fault}", agent + 1))?;
        if damaged {
            self.truth.left_chain(agent)?;
        }
        self.say(|| format!("agent {} starts", agent + 1));
        let life = self.agents[agent].life;
        let in_ms = self.rng.between(1, 300);
        self.plan(in_ms, Event::Dial { agent, life });
        self.plan(1_000, Event::LinkCheck { agent, life });
        match self.phase >= Phase::Draining {
            true => self.agent_happened(agent, Happened::StopAsked),
            false => self.agent_happened(agent, Happened::Woke),
        }
    }

    pub(super) fn agent_wake(&mut self, agent: usize, life: u64) -> Result<(), String> {
        if !self.agent_lives(agent, life) {
            return Ok(());
        }
        let now_ms = self.now_ms;
        let up = self.agents[agent].up.as_mut().expect("it lives");
        if up.wakes_at_ms != Some(now_ms) {
            return Ok(()); // it was woken since, by something else
        }
        up.wakes_at_ms = None;
        self.agent_happened(agent, Happened::Woke)
    }

    /// A check comes to its end, and the world's book has it.
    pub(super) fn run_ended(
        &mut self,
        agent: usize,
        life: u64,
        due: Due,
        outcome: Outcome,
    ) -> Result<(), String> {
        if !self.agent_lives(agent, life) {
            return Ok(());
        }
        let name = self.cast.agents[agent].name.to_string();
        self.truth.ran((name, due.planned.name.to_string(), due.scheduled_at_ms), outcome);
        let told = match (self.planted, outcome) {
            (Some(Planted::UnknownCountedGood), Outcome::Unknown(_)) => Outcome::Pass,
            _ => outcome,
        };
        let observation = Observation {
            outcome: told,
            duration_us: 1_000,
            measurements: Vec::new(),
            detail: String::new(),
        };
        self.agent_happened(agent, Happened::RunEnded(due, observation))
    }

    /// The spool's thread has carried out an order.
    pub(super) fn spool_done(&mut self, agent: usize, life: u64) -> Result<(), String> {
        if !self.agent_lives(agent, life) {
            return Ok(());
        }
        let up = self.agents[agent].up.as_mut().expect("it lives");
        up.spool_is_busy = false;
        let appending = match up.core.hands().orders.front() {
            Some(Order::Append(record)) => Some(record.batch.clone()),
            _ => None,
        };
        let report = up.next_report();
        if self.agent_struck(agent) {
            return Ok(());
        }
        let Some(report) = report else { return Ok(()) };
        match (&report, appending) {
            (Report::Appended { .. }, Some(batch)) => self.note_spooled(agent, &batch),
            (Report::Rejoined(damage), _) if !damage.files.is_empty() => {
                self.truth.left_chain(agent)?;
            }
            _ => {}
        }
        self.agent_happened(agent, Happened::Spool(report))
    }

    fn note_spooled(&mut self, agent: usize, batch: &SealedBatch) {
        if let Ok(Header::Batch(header)) = batch.leaf.header() {
            self.truth.spooled(agent, batch_id(&header, &batch.payload));
            let (first, end) = (header.seq_first, header.seq_end() - 1);
            self.say(|| format!("agent {} has results {first} to {end} on disk", agent + 1));
        }
    }

    /// One thing happened to an agent; everything it does about it.
    pub(super) fn agent_happened(
        &mut self,
        agent: usize,
        happened: Happened,
    ) -> Result<(), String> {
        let now_ms = self.now_ms;
        let host = &mut self.agents[agent];
        let skew = host.skew;
        let Some(up) = &mut host.up else { return Ok(()) };
        up.set_clock(now_ms, skew);
        let happened = bent(self.planted, happened, up.clock.unix_ms());
        let done = up.core.apply(happened).and_then(|()| up.core.settle());
        if self.agent_struck(agent) {
            return Ok(());
        }
        match done {
            Ok(()) => {}
            Err(fault) if must_restart(&fault) => {
                self.say(|| format!("agent {}: {fault}", agent + 1));
                self.crash_agent(agent, End::Killed, 200);
                return Ok(());
            }
            Err(fault) => return Err(format!("agent {}: {fault}", agent + 1)),
        }
        self.carry(agent)
    }

    /// What the core began and ordered.
    fn carry(&mut self, agent: usize) -> Result<(), String> {
        let life = self.agents[agent].life;
        let up = self.agents[agent].up.as_mut().expect("it just did something");
        let started = std::mem::take(&mut up.core.hands().started);
        let has_orders = !up.core.hands().orders.is_empty();
        let starts_order = has_orders && !up.spool_is_busy;
        up.spool_is_busy |= has_orders;
        for due in started {
            let in_ms = self.rng.between(1, 600);
            let outcome = Truth::draw(&mut self.rng);
            self.plan(in_ms, Event::RunEnded { agent, life, due: Box::new(due), outcome });
        }
        if starts_order {
            let in_ms = self.rng.between(0, 20);
            self.plan(in_ms, Event::SpoolDone { agent, life });
        }
        let now_ms = self.now_ms;
        let up = self.agents[agent].up.as_mut().expect("as above");
        if up.core.is_done() {
            return self.agent_done(agent);
        }
        let wake_at_ms = up.wake_at_ms(now_ms);
        if up.wakes_at_ms.is_none_or(|planned| planned > wake_at_ms) {
            up.wakes_at_ms = Some(wake_at_ms);
            self.plan(wake_at_ms - now_ms, Event::AgentWake { agent, life });
        }
        self.pump(agent)
    }

    /// Its drain is over: all is delivered, or another start delivers the rest.
    fn agent_done(&mut self, agent: usize) -> Result<(), String> {
        let up = self.agents[agent].up.as_mut().expect("the caller saw it");
        let is_acked = up.core.is_acked();
        if let Err(fault) = up.core.finish() {
            // No room for as long as a stop may take: it ends without a mark, and starts again.
            self.say(|| format!("agent {}: {fault}", agent + 1));
            self.crash_agent(agent, End::Killed, 200);
            return Ok(());
        }
        let conn = up.link.conn;
        self.disconnect(conn);
        self.agents[agent].up = None;
        self.agents[agent].life += 1;
        match is_acked {
            true => self.say(|| format!("agent {} has stopped: all is delivered", agent + 1)),
            false => self.plan(100, Event::AgentStart { agent }),
        }
        Ok(())
    }

    /// A fault has struck this agent's disk: its process ends.
    fn agent_struck(&mut self, agent: usize) -> bool {
        let Some(struck) = self.agents[agent].disk.take_struck() else { return false };
        let (site, fault) = (struck.site, struck.fault.slug());
        self.say(|| format!("agent {}: {fault} at {site}", agent + 1));
        let end = if struck.cuts_power() { End::PowerCut } else { End::Killed };
        let off_ms = self.rng.between(20, 3_000);
        self.crash_agent(agent, end, off_ms);
        true
    }

    pub(super) fn agent_lives(&self, agent: usize, life: u64) -> bool {
        self.agents[agent].up.is_some() && self.agents[agent].life == life
    }

    // --- its connection ---

    pub(super) fn dial(&mut self, agent: usize, life: u64) -> Result<(), String> {
        if !self.agent_lives(agent, life) {
            return Ok(());
        }
        let node = self.rng.index(self.nodes.len());
        let conn = self.connect(agent, node);
        let up = self.agents[agent].up.as_mut().expect("it lives");
        up.link.dialled(conn, node);
        let spec_revision = up.link.spec_revision;
        self.say_to_node(conn, Said::Hello { spec_revision });
        Ok(())
    }

    /// Keepalive: a broken connection is noticed, and another one dialled.
    pub(super) fn link_check(&mut self, agent: usize, life: u64) -> Result<(), String> {
        if !self.agent_lives(agent, life) {
            return Ok(());
        }
        self.plan(700, Event::LinkCheck { agent, life });
        let up = self.agents[agent].up.as_mut().expect("it lives");
        let conn = up.link.conn;
        if conn == 0 {
            return Ok(());
        }
        let is_broken = self
            .conns
            .get(&conn)
            .is_none_or(|open| open.is_broken || !self.nodes[open.node].replica.is_up());
        if !is_broken {
            return self.pump(agent);
        }
        let backoff_ms = up.link.lost();
        self.disconnect(conn);
        self.plan(backoff_ms, Event::Dial { agent, life });
        let why = "no answer".to_owned();
        self.agent_happened(agent, Happened::Uplink(UplinkEvent::Disconnected { why }))
    }

    /// Batches from the core into the window, and from there onto the stream.
    pub(super) fn pump(&mut self, agent: usize) -> Result<(), String> {
        let now_ms = self.now_ms;
        let mut handed_over = false;
        loop {
            let Some(up) = &mut self.agents[agent].up else { return Ok(()) };
            while up.link.has_room()
                && let Some(batch) = up.core.take_outgoing()
            {
                up.link.push(batch);
                handed_over = true;
            }
            let Some(batch) = up.link.next(now_ms) else { break };
            let conn = up.link.conn;
            let header = batch.leaf.header();
            self.say_to_node(conn, Said::Batch(batch));
            if let (Some(Planted::SpoolFreedBeforeAck), Ok(Header::Batch(header))) =
                (self.planted, header)
            {
                let (epoch, seq_end) = (header.epoch, header.seq_end());
                let event = UplinkEvent::Acked { epoch, seq_end };
                return self.agent_happened(agent, Happened::Uplink(event));
            }
        }
        // A batch that left the core makes room for the next order.
        match handed_over {
            true => self.agent_happened(agent, Happened::Woke),
            false => Ok(()),
        }
    }
}

/// Planted: what the agent is told, bent.
fn bent(planted: Option<Planted>, happened: Happened, now_ms: u64) -> Happened {
    match (planted, happened) {
        (
            Some(Planted::SpecAtOnce),
            Happened::Uplink(UplinkEvent::Specs { revision, text, .. }),
        ) => Happened::Uplink(UplinkEvent::Specs { revision, effective_at_ms: now_ms, text }),
        (_, happened) => happened,
    }
}
