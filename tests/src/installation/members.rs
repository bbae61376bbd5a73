//! Replicas that come and go while the installation runs.

use super::*;

impl Installation {
    /// One more replica, planned and configured as a newcomer: it lists nobody but itself.
    pub fn plan_newcomer(&mut self) -> usize {
        let id = self.replicas.len() + 1;
        let replica = Replica::plan(self.dir.path(), id, Seat::loopback());
        std::fs::write(&replica.config, newcomer_config(&replica)).expect("config written");
        self.replicas.push(replica);
        id - 1
    }

    /// Makes every replica's directory and starts none.
    pub fn lay_out(&self) {
        self.init();
    }

    /// Runs `aggregator <words>` with the first replica's operator credential.
    pub fn members_verb(&self, words: &[&str]) -> String {
        let data = path(&self.replicas[0].data);
        program::must(&[&["aggregator"], words, &["--data", data]].concat())
    }

    /// The same, refused or not: status, standard output, standard error.
    pub fn try_members_verb(&self, words: &[&str]) -> std::process::Output {
        let data = path(&self.replicas[0].data);
        program::run(&[&["aggregator"], words, &["--data", data]].concat())
    }

    /// Lets the replica `at` in, in addition or in another's place, and makes its directory.
    pub fn join_replica(&self, at: usize, replaces: Option<&str>) {
        let name = self.replicas[at].name.as_str();
        let token = match replaces {
            None => self.members_verb(&["invite", "--name", name]),
            Some(old) => self.members_verb(&["replace", old, "--name", name]),
        };
        let config = path(&self.replicas[at].config);
        program::must(&["aggregator", "join", "--config", config, "--token", token.trim()]);
    }

    /// A newcomer that joins and starts; waits until it has the part.
    pub fn add_replica(&mut self, replaces: Option<&str>) -> usize {
        let at = self.plan_newcomer();
        self.join_replica(at, replaces);
        self.start_replica(at);
        self.wait_for_part(&self.replicas[at].name.clone(), "voter");
        at
    }

    /// Waits until the cluster says so of a replica.
    pub fn wait_for_part(&self, name: &str, part: &str) {
        wait::until(&format!("{name} to be {part}"), SETTLE, || {
            let members = self.json("/api/v1/members")?;
            let found = members.as_array()?.iter().find(|one| one["name"] == name)?;
            (found["part"] == part).then_some(())
        });
    }

    /// The index of the running replica of this name.
    pub fn replica(&self, name: &str) -> &Replica {
        let found = self.replicas.iter().find(|replica| replica.name == name);
        found.expect("a replica of this name")
    }

    /// Starts a replica that is none of the installation's, from a configuration of its own.
    pub fn start_twin(&self, config: &Path) -> Program {
        let dir = self.dir.path();
        let args = ["aggregator", "run", "--config", path(config)];
        Program::start(&args, dir, &dir.join("twin.log"), "ready")
    }

    /// A replica's process is gone, for good: nobody waits for it any more.
    pub fn forget_replica(&mut self, at: usize) -> Replica {
        self.replicas.remove(at)
    }
}

impl Replica {
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The entry up to which its Raft log is let go of: that of the older snapshot of the two it
    /// keeps. `None`: its log is whole.
    pub fn log_begins_after(&self) -> Option<u64> {
        let entries = std::fs::read_dir(self.data.join("snapshots")).ok()?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let indexes: Vec<u64> = names.filter_map(|name| name.parse().ok()).collect();
        (indexes.len() > 1).then(|| indexes.into_iter().min())?
    }

    /// Waits until the process has ended by itself, and says how.
    pub fn ended_by_itself(&mut self) -> Ended {
        let mut running = self.running.take().expect("it runs");
        let status = wait::until("the replica to end by itself", SETTLE, || running.ended());
        Ended { status: Some(status), log: running.log_text() }
    }
}

/// Only its own entry: the cluster tells it the rest.
fn newcomer_config(replica: &Replica) -> String {
    let [grpc, peers] = replica.told;
    format!(
        "node: {name}\norigin: proofmark.test/it\ndata_dir: {data}\nlisten:\n  http: {http}\n  \
         grpc: {}\n  peers: {}\nnodes:\n  - {{name: {name}, grpc: \"{grpc}\", peers: \
         \"{peers}\"}}\nlog_format: text\n",
        replica.grpc,
        replica.peers,
        name = replica.name,
        data = replica.data.display(),
        http = replica.http,
    )
}
