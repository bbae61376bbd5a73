//! What the leader does unasked: begin the log, let time pass, ask for seals.
//!
//! Each is a command like any other; a second leader that does the same a moment later changes
//! nothing that the state does not allow. A duty that gets no answer is simply done again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::command::{Command, Reply};
use crate::consensus::{ConsensusHandle, ProposalOutcome, Role};
use crate::identity::NodeIdentity;
use crate::limits::{PROVEN_INTERVAL_MS, TICK_INTERVAL_MS};
use crate::recorder::RecorderHandle;

pub(super) struct Duties {
    genesis: Command,
    handle: ConsensusHandle,
    recorder: RecorderHandle,
    has_genesis: watch::Receiver<bool>,
}

impl Duties {
    pub(super) fn new(
        identity: &Arc<NodeIdentity>,
        handle: ConsensusHandle,
        recorder: RecorderHandle,
        has_genesis: watch::Receiver<bool>,
    ) -> Self {
        let cosigner =
            |node: &crate::identity::NodeInfo| (node.cosigner_name.clone(), node.cosigner_key);
        let mut nodes: Vec<_> = identity.nodes.iter().map(cosigner).collect();
        nodes.sort_by(|a, b| a.0.cmp(&b.0));
        let genesis = Command::Genesis {
            origin: identity.origin.clone(),
            log_key: identity.log_key.public(),
            nodes,
        };
        Self { genesis, handle, recorder, has_genesis }
    }

    /// Until the flag is raised. `proposed`: what the recorder wants proposed, from any replica.
    pub(super) async fn run(
        self,
        mut proposed: mpsc::Receiver<Command>,
        stop: watch::Receiver<bool>,
    ) {
        let mut ticks = interval(Duration::from_millis(TICK_INTERVAL_MS));
        let mut seals = interval(Duration::from_millis(PROVEN_INTERVAL_MS));
        for timer in [&mut ticks, &mut seals] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
        }
        loop {
            tokio::select! {
                () = super::raised(stop.clone()) => return,
                _ = ticks.tick() => self.tick().await,
                _ = seals.tick() => self.seal(),
                Some(command) = proposed.recv() => self.propose(command).await,
            }
        }
    }

    fn leads(&self) -> bool {
        self.handle.status().borrow().role == Role::Leader
    }

    async fn tick(&self) {
        if !self.leads() {
            return;
        }
        if !*self.has_genesis.borrow() {
            self.propose(self.genesis.clone()).await;
        }
        self.propose(Command::Tick).await;
    }

    fn seal(&self) {
        if self.leads() {
            self.recorder.propose_seal();
        }
    }

    async fn propose(&self, command: Command) {
        let what = command.slug();
        match self.handle.propose(command).await {
            ProposalOutcome::Applied(Reply::Refused(why)) => {
                tracing::debug!(what, slug = why.slug(), "a duty was refused");
            }
            ProposalOutcome::Applied(_) => {}
            other => tracing::debug!(what, ?other, "a duty is done again later"),
        }
    }
}
