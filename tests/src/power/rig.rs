//! Three replicas and two agents, each on a disk of its own that loses power, and load on them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::acks::{self, Acks};
use crate::dice::Dice;
use crate::installation::{Agent, Installation, Joining, SETTLE, Seat, free_addresses};
use crate::judge::{Verdict, judge};
use crate::lossy::{Doom, Losses, LossyDisk, Manner};
use crate::program::{Ended, Launch};
use crate::push::{Load, Pushers};
use crate::target::Target;
use crate::wait::{self, Stopwatch};
use crate::workload;

pub(super) const AGENTS: [&str; 2] = ["web-1", "web-2"];
const REPLICAS: usize = 3;
const CHECKS: usize = 10;
/// Changes of a disk within which its power goes: a few hundred are a second or two of load.
const DOOM_AFTER_MAX: u64 = 250;
/// How long a disk is waited for that makes fewer changes than that.
const DOOM_PATIENCE: Duration = Duration::from_secs(2);
/// How long an aged installation may take to age.
const AGEING: Duration = Duration::from_secs(1_200);
const PUSH: Load = Load { agents: 2, results: 50, batches_per_s: 10 };
const PUSH_TO_AGE: Load = Load { agents: 4, results: 400, batches_per_s: 20 };

/// How old an installation is when the first power cut comes.
#[derive(Clone, Copy)]
pub(super) enum Age {
    /// Seconds.
    New,
    /// One replica holds this much.
    Bytes(u64),
}

/// Whose power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Victim {
    Replica(usize),
    Agent(usize),
    /// The whole rack at one instant.
    AllReplicas,
}

/// What one cut did.
pub(super) struct Cut {
    pub(super) losses: Losses,
    /// From the start after the cut to the program's word that it is ready.
    pub(super) ready: Duration,
    /// From the cut to the next batch that anybody acknowledged.
    pub(super) accepted: Duration,
}

/// Dropped from the top: load first, disks before the folder they are mounted in.
pub(super) struct Rig {
    pushers: Pushers,
    acks: Acks,
    agents: Vec<Agent>,
    agent_disks: Vec<LossyDisk>,
    disks: Vec<LossyDisk>,
    cluster: Installation,
    _target: Target,
}

impl Rig {
    pub(super) fn start(age: Age) -> Result<Rig, String> {
        let target = Target::start();
        let mut cluster = Installation::plan((0..REPLICAS).map(|_| Seat::loopback()).collect());
        let mount = |at: &std::path::Path| {
            LossyDisk::mount(at).map_err(|why| format!("{}: {why}", at.display()))
        };
        let replicas = cluster.replicas.iter();
        let disks = replicas.map(|replica| mount(&replica.data)).collect::<Result<Vec<_>, _>>()?;
        cluster.begin();
        cluster.apply("checks.yaml", &workload::specs(target.address(), CHECKS, &AGENTS));
        let mut agents = Vec::new();
        let mut agent_disks = Vec::new();
        let addresses: Vec<SocketAddr> = cluster.replicas.iter().map(|at| at.grpc).collect();
        for name in AGENTS {
            agent_disks.push(mount(&cluster.dir().join(name).join("data"))?);
            let [admin] = free_addresses();
            let (admin, launch) = (Some(admin), Launch::default());
            agents.push(cluster.join(Joining { name, addresses: &addresses, admin, launch }));
        }
        let acks = Acks::watch(admins(&agents));
        let pushers = Pushers::start(&cluster, PUSH)?;
        let mut rig = Rig { pushers, acks, agents, agent_disks, disks, cluster, _target: target };
        if let Age::Bytes(bytes) = age {
            rig.age(bytes)?;
        }
        Ok(rig)
    }

    /// A replica mostly; sometimes an agent; now and then every replica at once.
    pub(super) fn choose(&self, dice: &mut Dice) -> Victim {
        let index = |below: usize, dice: &mut Dice| {
            usize::try_from(dice.below(below as u64)).expect("an index")
        };
        match dice.below(10) {
            0 => Victim::AllReplicas,
            1..=3 => Victim::Agent(index(AGENTS.len(), dice)),
            _ => Victim::Replica(index(REPLICAS, dice)),
        }
    }

    /// Cuts the power, kills who lost it, restores what is left, starts again, and waits until
    /// somebody is acknowledged again.
    pub(super) fn cut(
        &mut self,
        victim: Victim,
        manner: Manner,
        dice: &mut Dice,
    ) -> Result<Cut, String> {
        self.pushers.check()?;
        self.doom(victim, dice);
        let since_cut = Stopwatch::start();
        self.kill(victim);
        let losses = self.restore(victim, manner, dice)?;
        let before = self.pushers.batches();
        let since_start = Stopwatch::start();
        self.start_again(victim)?;
        let ready = since_start.passed();
        wait::hoped("a batch to be acknowledged after the cut", SETTLE, || {
            (self.pushers.batches() > before).then_some(())
        })
        .map_err(|why| format!("{why}\n{}", self.cluster.logs()))?;
        let accepted = since_cut.passed();
        // Load between two cuts, of some length: cuts come early and late after a start.
        wait::let_pass(Duration::from_millis(dice.below(1_000)));
        Ok(Cut { losses, ready, accepted })
    }

    /// Stops the load and holds what is left against all that was told.
    pub(super) fn judge(self) -> Result<Verdict, String> {
        let Rig { pushers, acks, mut agents, agent_disks, disks, mut cluster, _target } = self;
        let pushed = pushers.stop().map_err(|why| format!("{why}\n{}", cluster.logs()))?;
        for agent in &mut agents {
            let admin = agent.admin.expect("each was given one");
            let what = format!("{}'s spool to drain", agent.name);
            wait::hoped(&what, SETTLE, || (acks::waiting(admin)? < 1_000).then_some(()))?;
            agent.stop();
        }
        let mut told: BTreeMap<String, u64> = acks.heard();
        told.extend(pushed.iter().map(|told| (told.agent.clone(), told.seq_end())));
        let policy = agents[0].data_dir().join("identity/policy");
        let verdict = judge(&mut cluster, &policy, &told);
        drop((agents, agent_disks, disks));
        verdict
    }

    /// Fills the log: more than the load of the cuts, until one replica's disk holds `bytes`.
    fn age(&mut self, bytes: u64) -> Result<(), String> {
        let fast = Pushers::start_as(&self.cluster, "age", PUSH_TO_AGE)?;
        wait::hoped("the installation to age", AGEING, || {
            (self.disks[0].durable_bytes() >= bytes).then_some(())
        })?;
        fast.stop().map(drop)
    }

    fn disks_of(&mut self, victim: Victim) -> &mut [LossyDisk] {
        match victim {
            Victim::Replica(at) => &mut self.disks[at..=at],
            Victim::Agent(at) => &mut self.agent_disks[at..=at],
            Victim::AllReplicas => &mut self.disks,
        }
    }

    /// The power goes within some changes; a rack's goes everywhere once it is gone anywhere.
    fn doom(&mut self, victim: Victim, dice: &mut Dice) {
        let doom = Doom { after: dice.below(DOOM_AFTER_MAX), is_done: dice.coin() };
        let disks = self.disks_of(victim);
        disks[0].cut_power_in(doom);
        // A quiet disk makes no change: then it goes between two.
        let _ = wait::hoped("the power to go", DOOM_PATIENCE, || {
            (!disks[0].is_powered()).then_some(())
        });
        disks.iter().for_each(LossyDisk::cut_power);
    }

    fn kill(&mut self, victim: Victim) {
        match victim {
            Victim::Replica(at) => self.cluster.kill_replica(at),
            Victim::Agent(at) => self.agents[at].kill(),
            Victim::AllReplicas => (0..REPLICAS).for_each(|at| self.cluster.kill_replica(at)),
        }
    }

    fn restore(
        &mut self,
        victim: Victim,
        manner: Manner,
        dice: &mut Dice,
    ) -> Result<Losses, String> {
        let mut losses = Losses::default();
        for disk in self.disks_of(victim) {
            let lost = disk.restore_power(manner, dice).map_err(|why| why.to_string())?;
            losses.add(lost);
        }
        Ok(losses)
    }

    /// The disk was honest: nobody has a reason to refuse.
    fn start_again(&mut self, victim: Victim) -> Result<(), String> {
        let refused = |ended: Ended| format!("did not start: {:?}\n{}", ended.status, ended.log);
        match victim {
            Victim::Replica(at) => self.cluster.try_start_replica(at).map_err(refused),
            Victim::Agent(at) => self.agents[at].try_start().map_err(refused),
            Victim::AllReplicas => {
                (0..REPLICAS).try_for_each(|at| self.cluster.try_start_replica(at).map_err(refused))
            }
        }
    }
}

fn admins(agents: &[Agent]) -> Vec<(String, SocketAddr)> {
    agents.iter().filter_map(|agent| Some((agent.name.clone(), agent.admin?))).collect()
}
