//! What a replica does unasked. The leader begins the log, lets time pass, asks for seals; every
//! one proposes its cosignatures; one that must not lead gives leadership away.
//!
//! Each is a command like any other; a second leader that does the same a moment later changes
//! nothing that the state does not allow. A duty that gets no answer is simply done again, and no
//! duty waits for another's answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::rooms::Rooms;
use super::seal_watch::{Progress, SealWatch};
use crate::clock::Clock;
use crate::command::{Command, Reply};
use crate::consensus::{ConsensusHandle, ProposalOutcome, Role};
use crate::identity::NodeIdentity;
use crate::limits::{
    DUTIES_UNDER_WAY_MAX, PROVEN_INTERVAL_MS, SEAL_STALLED_MS_MAX, TICK_INTERVAL_MS,
};
use crate::recorder::RecorderHandle;
use crate::views::StateView;

pub(super) struct Duties {
    genesis: Command,
    handle: ConsensusHandle,
    recorder: RecorderHandle,
    has_genesis: watch::Receiver<bool>,
    state: watch::Receiver<Arc<StateView>>,
    diverged: watch::Receiver<bool>,
    /// It has diverged, and consensus knows.
    has_stood_down: bool,
    seals: SealWatch,
    clock: Clock,
    /// Waits for outcomes, one task per proposal.
    under_way: JoinSet<()>,
}

impl Duties {
    pub(super) fn new(rooms: &Rooms) -> Self {
        Self {
            genesis: genesis(&rooms.identity),
            handle: rooms.consensus.handle(),
            recorder: rooms.recorder.handle(),
            has_genesis: rooms.readers.has_genesis.clone(),
            state: rooms.readers.views.clone(),
            diverged: rooms.views.diverged.clone(),
            has_stood_down: false,
            seals: SealWatch::default(),
            clock: rooms.clock.clone(),
            under_way: JoinSet::new(),
        }
    }

    /// Until the flag is raised. `proposed`: what the recorder wants proposed, from any replica.
    pub(super) async fn run(
        mut self,
        mut proposed: mpsc::Receiver<Command>,
        stop: watch::Receiver<bool>,
    ) {
        let mut ticks = interval(Duration::from_millis(TICK_INTERVAL_MS));
        let mut seals = interval(Duration::from_millis(PROVEN_INTERVAL_MS));
        for timer in [&mut ticks, &mut seals] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
        }
        let mut stopped = std::pin::pin!(super::raised(stop));
        loop {
            tokio::select! {
                () = &mut stopped => return,
                _ = ticks.tick() => self.tick(),
                _ = seals.tick() => self.seal(),
                Some(command) = proposed.recv() => self.propose(&command),
                Some(_) = self.under_way.join_next() => {}
                () = super::raised(self.diverged.clone()), if !self.has_stood_down => {
                    self.stand_down();
                }
            }
        }
    }

    fn leads(&self) -> bool {
        self.handle.status().borrow().role == Role::Leader
    }

    fn tick(&mut self) {
        self.watch_seals();
        if !self.leads() {
            return;
        }
        if self.has_stood_down {
            self.handle.hand_over();
        }
        if !*self.has_genesis.borrow() {
            self.propose(&self.genesis.clone());
        }
        self.propose(&Command::Tick);
    }

    fn seal(&self) {
        if self.leads() {
            self.recorder.propose_seal();
        }
    }

    /// This replica's log is not the majority's: whoever leads must be able to sign.
    fn stand_down(&mut self) {
        self.has_stood_down = true;
        self.handle.stand_down();
        self.handle.hand_over();
    }

    fn watch_seals(&mut self) {
        let progress = Progress {
            leads: self.leads(),
            log_size: self.state.borrow().log_size,
            published_size: self.recorder.status().borrow().published_size,
        };
        if self.seals.is_stalled(progress, self.clock.monotonic_ms()) {
            let Progress { log_size, published_size, .. } = progress;
            let limit_ms = SEAL_STALLED_MS_MAX;
            tracing::warn!(log_size, published_size, limit_ms, "seal_stalled: another should lead");
            self.handle.hand_over();
        }
    }

    /// Submitted here and now, so that duties keep their order; waited for elsewhere.
    fn propose(&mut self, command: &Command) {
        let what = command.slug();
        if self.under_way.len() >= DUTIES_UNDER_WAY_MAX {
            return tracing::debug!(what, "too many duties wait; this one is done again later");
        }
        let outcome = self.handle.submit(command);
        self.under_way.spawn(async move {
            match outcome.await.unwrap_or(ProposalOutcome::Lost) {
                ProposalOutcome::Applied(Reply::Refused(why)) => {
                    tracing::debug!(what, slug = why.slug(), "a duty was refused");
                }
                ProposalOutcome::Applied(_) => {}
                other => tracing::debug!(what, ?other, "a duty is done again later"),
            }
        });
    }
}

/// The first leaf, as every replica of this installation would propose it.
fn genesis(identity: &NodeIdentity) -> Command {
    let cosigner =
        |node: &crate::identity::NodeInfo| (node.cosigner_name.clone(), node.cosigner_key);
    let mut nodes: Vec<_> = identity.nodes.iter().map(cosigner).collect();
    nodes.sort_by(|a, b| a.0.cmp(&b.0));
    Command::Genesis { origin: identity.origin.clone(), log_key: identity.log_key.public(), nodes }
}
