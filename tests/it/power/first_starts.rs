//! Power that goes while a directory is made for the first time, at every change of its disk in
//! turn: the next start completes what is there, and what was promised before the cut is kept.

use std::path::{Path, PathBuf};

use proofmark_tests::dice::Dice;
use proofmark_tests::installation::{Installation, free_addresses, path};
use proofmark_tests::lossy::{Doom, LossyDisk, Manner};
use proofmark_tests::program::{self, Ended, Launch, Program};
use proofmark_tests::wait;

/// Every so many changes of the disk the power goes: each is met by one of the manners.
const STRIDE: usize = 3;

/// `init` that lost power is completed by `init`; a replica of it starts, and starts again after a
/// cut that takes all it did not sync.
#[test]
fn a_replica_is_made_whatever_change_the_power_goes_at() {
    let mut at_all = 0;
    for (turn, manner) in [Manner::AllLost, Manner::SomeKept].into_iter().enumerate() {
        for after in (turn..).step_by(STRIDE) {
            let home = tempfile::tempdir().unwrap();
            let Some(mut disk) = super::disk(&home.path().join("disk")) else { return };
            let replica = Replica::plan(home.path(), disk.path());
            disk.cut_power_in(Doom { after: after as u64, is_done: after % 2 == 0 });
            let is_made = replica.init().is_ok();
            let was_cut = !disk.is_powered();
            disk.cut_power();
            disk.restore_power(manner, &mut Dice::new(after as u64)).unwrap();
            if !is_made {
                replica.complete(after);
            }
            replica.run_and_lose_power(&mut disk, &format!("{manner:?} at change {after}"));
            at_all += 1;
            if !was_cut {
                break;
            }
        }
    }
    assert!(at_all > 10, "init makes more changes than {at_all}");
}

/// An agent that lost power while it enrolled enrols with the same token; one that was ready is
/// ready again, with the keys its aggregator knows.
#[test]
fn an_agent_is_enrolled_whatever_change_the_power_goes_at() {
    let home = tempfile::tempdir().unwrap();
    let Some(mut disk) = super::disk(&home.path().join("disk")) else { return };
    let cluster = Installation::start(1);
    let mut at_all = 0;
    for after in (0..).step_by(STRIDE) {
        let manner = if after % 2 == 0 { Manner::AllLost } else { Manner::SomeKept };
        let agent = Agent::plan(&cluster, home.path(), disk.path(), after);
        disk.cut_power_in(Doom { after: after as u64, is_done: after % 4 < 2 });
        let started = agent.start();
        wait::until("the power to go, or the agent to be ready", super::PATIENCE, || {
            (!disk.is_powered() || started.is_ok()).then_some(())
        });
        let was_cut = !disk.is_powered();
        disk.cut_power();
        drop(started);
        for again in 0..2 {
            disk.restore_power(manner, &mut Dice::new(after as u64)).unwrap();
            let started = agent.start();
            let why =
                |ended: Ended| panic!("change {after}, {again}: {:?}\n{}", ended.status, ended.log);
            let ready = started.unwrap_or_else(why);
            disk.cut_power();
            ready.kill();
        }
        disk.restore_power(Manner::AllLost, &mut Dice::new(0)).unwrap();
        at_all += 1;
        if !was_cut {
            break;
        }
    }
    assert!(at_all > 5, "a first start makes more changes than {at_all}");
}

/// A replica that is an installation of its own, its data in a folder of the disk that it makes.
struct Replica {
    config: PathBuf,
    home: PathBuf,
}

impl Replica {
    fn plan(home: &Path, disk: &Path) -> Replica {
        let [http, grpc, peers] = free_addresses();
        let config = home.join("a1.yaml");
        let text = format!(
            "node: a1\norigin: proofmark.test/power\ndata_dir: {}\nlisten: {{http: \"{http}\", \
             grpc: \"{grpc}\", peers: \"{peers}\"}}\nnodes:\n  - {{id: 1, name: a1, grpc: \
             \"{grpc}\", peers: \"{peers}\"}}\n",
            disk.join("data").display()
        );
        std::fs::write(&config, text).expect("config written");
        Replica { config, home: home.to_owned() }
    }

    fn init(&self) -> Result<(), String> {
        let output = program::run(&["aggregator", "init", "--config", path(&self.config)]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(()).ok_or(said)
    }

    /// The Raft log comes last: where it is, all is there, whether `init` lived to say so or not.
    fn complete(&self, after: usize) {
        match self.init() {
            Err(why) if !why.contains("`init` was run before") => panic!("change {after}: {why}"),
            _ => {}
        }
    }

    fn run_and_lose_power(&self, disk: &mut LossyDisk, what: &str) {
        let args = ["aggregator", "run", "--config", path(&self.config)];
        let log = self.home.join("a1.log");
        for _ in 0..2 {
            let started = Program::try_start(&Launch::default(), &args, &self.home, &log, "ready");
            let ready =
                started.unwrap_or_else(|ended| panic!("{what}: {:?}\n{}", ended.status, ended.log));
            disk.cut_power();
            ready.kill();
            disk.restore_power(Manner::AllLost, &mut Dice::new(0)).expect("mounted again");
        }
    }
}

/// An agent with its data in a folder of the disk that it makes.
struct Agent {
    config: PathBuf,
    home: PathBuf,
}

impl Agent {
    fn plan(cluster: &Installation, home: &Path, disk: &Path, number: usize) -> Agent {
        let name = format!("first-{number}");
        let config = home.join(format!("{name}.yaml"));
        let text = format!(
            "name: {name}\ndata_dir: {}\njoin_token: {}\naggregators: [\"{}\"]\n",
            disk.join(&name).display(),
            cluster.token(&name),
            cluster.replicas[0].grpc
        );
        std::fs::write(&config, text).expect("config written");
        Agent { config, home: home.to_owned() }
    }

    fn start(&self) -> Result<Program, Ended> {
        let args = ["agent", "run", "--config", path(&self.config)];
        let log = self.home.join("agent.log");
        Program::try_start(&Launch::default(), &args, &self.home, &log, "ready")
    }
}
