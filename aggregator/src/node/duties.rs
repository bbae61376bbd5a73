//! What a replica does unasked. The leader begins the log, lets time pass, asks for seals; every
//! one proposes its cosignatures; one that must not lead gives leadership away.
//!
//! Each is a command like any other; a second leader that does the same a moment later changes
//! nothing that the state does not allow. A duty that gets no answer is simply done again, and no
//! duty waits for another's answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::members_duty::{Due, MembersDuty};
use super::rooms::{Rooms, state_peers};
use super::seal_watch::{Progress, SealWatch};
use crate::clock::Clock;
use crate::command::{Command, Reply};
use crate::config::Config;
use crate::consensus::transport::PeerBook;
use crate::consensus::{ConsensusHandle, ProposalOutcome, Role};
use crate::identity::{ADDRESSES_FILE, NodeIdentity, write_public};
use crate::limits::{
    DUTIES_UNDER_WAY_MAX, PROVEN_INTERVAL_MS, SEAL_STALLED_MS_MAX, TICK_INTERVAL_MS,
};
use crate::recorder::RecorderHandle;
use crate::state::Step;
use crate::views::StateView;
use crate::views::members::MembersView;

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
    members_duty: MembersDuty,
    members: watch::Receiver<Arc<MembersView>>,
    book: Arc<PeerBook>,
    /// For operators: every replica's agent port, beside the credential.
    addresses_file: PathBuf,
    clock: Clock,
    /// Waits for outcomes, one task per proposal.
    under_way: JoinSet<()>,
}

impl Duties {
    pub(super) fn new(config: &Config, rooms: &Rooms) -> Self {
        let (handle, book) = (rooms.consensus.handle(), Arc::clone(&rooms.book));
        let members = rooms.readers.members.clone();
        let members_duty = MembersDuty::new(
            config,
            &rooms.identity,
            handle.clone(),
            Arc::clone(&book),
            members.clone(),
        );
        Self {
            genesis: genesis(&rooms.identity),
            handle,
            recorder: rooms.recorder.handle(),
            has_genesis: rooms.readers.has_genesis.clone(),
            state: rooms.readers.views.clone(),
            diverged: rooms.views.diverged.clone(),
            has_stood_down: false,
            seals: SealWatch::default(),
            members_duty,
            members,
            book,
            addresses_file: config.identity_dir().join(ADDRESSES_FILE),
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
                _ = ticks.tick() => {
                    self.tick();
                    self.keep_members();
                }
                Ok(()) = self.members.changed() => {
                    let view = self.members.borrow_and_update().clone();
                    self.book.set_state(state_peers(&view));
                    self.write_addresses(&view);
                }
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

    fn keep_members(&mut self) {
        match self.members_duty.look() {
            Due::Nothing => {}
            Due::Raise(command) => self.propose(&command),
            Due::HandOver => self.handle.hand_over(),
            Due::Change(step) => self.change_members(step),
        }
    }

    /// So that an operator's command finds the leader, whoever it is by now.
    fn write_addresses(&mut self, view: &MembersView) {
        let present = view.present().map(|member| format!("{}\n", member.grpc));
        let (text, path) = (present.collect::<String>(), self.addresses_file.clone());
        if text.is_empty() || self.under_way.len() >= DUTIES_UNDER_WAY_MAX {
            return;
        }
        self.under_way.spawn_blocking(move || {
            if let Err(why) = write_public(&path, &text) {
                tracing::warn!(%why, "the operators' list of addresses is not up to date");
            }
        });
    }

    fn change_members(&mut self, step: Step) {
        if self.under_way.len() >= DUTIES_UNDER_WAY_MAX {
            return;
        }
        let (handle, change) = (self.handle.clone(), step.change);
        self.under_way.spawn(async move {
            let command = Command::ChangeNodes { change: change.clone() };
            match handle.propose_change(change.clone(), &command).await {
                Ok(ProposalOutcome::Applied(Reply::Done)) => {
                    tracing::info!(?change, "the membership has changed");
                }
                other => tracing::debug!(?change, ?other, "a step of the membership waits"),
            }
        });
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
    let mut nodes: Vec<_> = identity.founders().map(cosigner).collect();
    nodes.sort_by(|a, b| a.0.cmp(&b.0));
    Command::Genesis { origin: identity.origin.clone(), log_key: identity.log_key.public(), nodes }
}
