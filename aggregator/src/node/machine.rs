//! The state machine behind Raft: applies entries, hands their effects on, saves the state.
//! Owned by the apply thread; nothing here waits for a socket.

use std::sync::Arc;

use tokio::sync::watch;

use super::agents::SharedAgents;
use super::snapshots::{Order, SnapshotOrders};
use super::spaced::Spaced;
use super::state_source;
use crate::clock::Clock;
use crate::command::{Command, Entry, Reply};
use crate::consensus::log_store::LogStore;
use crate::consensus::{Applier, Membership, SnapshotMeta};
use crate::ingest::SpecSnapshot;
use crate::limits::{
    TABLES_SAVE_COST_TIMES, TABLES_SAVE_INTERVAL_MS, TABLES_SAVE_PAUSE_MS_MAX, VIEWS_COST_TIMES,
    VIEWS_PAUSE_MS_MAX,
};
use crate::recorder::{RecorderHandle, RecorderTask};
use crate::snapshot::SnapshotStore;
use crate::state::{Effect, State};
use crate::tables::Tables;
use crate::views::members::MembersView;
use crate::views::{StateView, build};

/// The state, and everyone who is told what changed.
pub struct Machine {
    state: State,
    disk: MachineDisk,
    recorder: RecorderHandle,
    orders: SnapshotOrders,
    agents: SharedAgents,
    views: watch::Sender<Arc<StateView>>,
    specs: watch::Sender<SpecSnapshot>,
    members: watch::Sender<Arc<MembersView>>,
    has_genesis: watch::Sender<bool>,
    clock: Clock,
    saving: Spaced,
    viewing: Spaced,
    /// Something changed that readers have not been shown.
    are_views_old: bool,
}

/// Where the state is kept, and what it is kept beside.
pub(super) struct MachineDisk {
    pub(super) tables: Tables,
    pub(super) snapshots: SnapshotStore,
    /// Where the entries' terms are.
    pub(super) raft_log: LogStore,
}

/// What others read of the machine.
pub struct MachineReaders {
    pub agents: SharedAgents,
    pub views: watch::Receiver<Arc<StateView>>,
    pub specs: watch::Receiver<SpecSnapshot>,
    pub members: watch::Receiver<Arc<MembersView>>,
    /// Whether the log has its first leaf.
    pub has_genesis: watch::Receiver<bool>,
}

impl Machine {
    pub(super) fn new(
        state: State,
        disk: MachineDisk,
        recorder: RecorderHandle,
        orders: SnapshotOrders,
        clock: Clock,
    ) -> (Machine, MachineReaders) {
        let agents = SharedAgents::of(&state);
        let (views, views_seen) = watch::channel(Arc::new(build(&state)));
        let (specs, specs_seen) = watch::channel(spec_snapshot(&state));
        let (members, members_seen) = watch::channel(Arc::new(MembersView::of(&state)));
        let (has_genesis, genesis_seen) = watch::channel(state.genesis().is_some());
        let now_ms = clock.monotonic_ms();
        let seen = MachineReaders {
            agents: agents.clone(),
            views: views_seen,
            specs: specs_seen,
            members: members_seen,
            has_genesis: genesis_seen,
        };
        let machine = Machine {
            state,
            disk,
            recorder,
            orders,
            agents,
            views,
            specs,
            members,
            has_genesis,
            clock,
            saving: Spaced::new(
                TABLES_SAVE_INTERVAL_MS,
                TABLES_SAVE_COST_TIMES,
                TABLES_SAVE_PAUSE_MS_MAX,
                now_ms,
            ),
            viewing: Spaced::new(0, VIEWS_COST_TIMES, VIEWS_PAUSE_MS_MAX, now_ms),
            are_views_old: false,
        };
        (machine, seen)
    }

    /// The highest entry whose effects are in the state.
    pub fn applied(&self) -> u64 {
        self.state.applied()
    }

    fn apply_entry(&mut self, index: u64, entry: &Entry) -> Vec<Reply> {
        let hand_overs = self.state.hand_overs();
        let mut effects = Vec::new();
        for command in &entry.commands {
            effects.extend(self.state.apply(index, entry.stamped_at_ms, command));
        }
        let replies = self.finish(index, effects);
        self.tell(&entry.commands, hand_overs);
        replies
    }

    /// The entry is applied whole: what follows for the recorder, and what is answered.
    fn finish(&mut self, index: u64, effects: Vec<Effect>) -> Vec<Reply> {
        self.state.finish_entry(index);
        let (mut replies, mut others) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Reply(reply) => replies.push(reply),
                other => others.push(other),
            }
        }
        if !others.is_empty() {
            self.recorder.record(RecorderTask { index, effects: others });
        }
        replies
    }

    /// A change of the membership, with the one command that asks for it.
    fn change_members(&mut self, index: u64, context: &[u8]) -> (Vec<Reply>, Option<Membership>) {
        let entry = Entry::decode(context).expect("a committed change decodes on every replica");
        let [command] = &entry.commands[..] else {
            panic!("a committed change at {index} with {} commands", entry.commands.len());
        };
        let (effects, after) = self.state.apply_change(index, entry.stamped_at_ms, command);
        (self.finish(index, effects), after)
    }

    /// Readers see an entry only after it was applied whole.
    fn tell(&mut self, commands: &[Command], hand_overs: usize) {
        self.agents.update(&self.state, commands);
        if commands.iter().any(|command| matches!(command, Command::ApplySpec { .. })) {
            self.specs.send_replace(spec_snapshot(&self.state));
        }
        if commands.iter().any(|command| matches!(command, Command::Genesis { .. })) {
            self.has_genesis.send_replace(self.state.genesis().is_some());
        }
        if commands.iter().any(changes_members) || self.state.hand_overs() != hand_overs {
            self.tell_members();
        }
        // Last: whoever waits for a view of this entry finds the rest told.
        self.are_views_old |= commands.iter().any(changes_views);
        self.show_when_due();
    }

    fn tell_members(&self) {
        self.members.send_replace(Arc::new(MembersView::of(&self.state)));
    }

    /// Saves the state to its tables. The evidence is made durable first: tables never run ahead.
    /// A fault costs only a longer next start, so it is said and not more.
    pub fn save(&mut self) {
        let begun_ms = self.clock.monotonic_ms();
        self.recorder.sync();
        // A crash here leaves evidence newer than the tables: the entries between are applied
        // again, and their leaves compared with those on disk.
        let rows = self.state.take_dirty_rows();
        if let Err(why) = self.disk.tables.save(rows, self.state.applied()) {
            let slug = why.slug();
            tracing::warn!(slug, %why, "tables not saved; the next start replays more");
        }
        self.saving.done(begun_ms, self.clock.monotonic_ms());
    }

    /// The state is copied here, between two entries; it is encoded and written elsewhere.
    fn order_snapshot_when_due(&mut self, index: u64, entry_bytes: usize) {
        let now_ms = self.clock.monotonic_ms();
        if !self.orders.is_due_after(entry_bytes + ENTRY_OVERHEAD_BYTES, now_ms) {
            return;
        }
        let position = self.disk.raft_log.position(index);
        let (Some(position), Some(membership)) = (position, self.membership()) else { return };
        let state = Box::new(self.state.clone());
        self.orders.meter.stalled(now_ms);
        self.orders.order(Order { position, membership, state, ordered_at_ms: now_ms });
    }

    /// Everybody, of everything: the state is another one.
    fn tell_all(&mut self) {
        self.agents.replace(&self.state);
        self.views.send_replace(Arc::new(build(&self.state)));
        self.are_views_old = false;
        self.specs.send_replace(spec_snapshot(&self.state));
        self.has_genesis.send_replace(self.state.genesis().is_some());
        self.tell_members();
    }

    fn save_when_due(&mut self) {
        if self.saving.is_due(self.clock.monotonic_ms()) {
            self.save();
        }
    }

    /// What is not shown now is shown at one of the next ticks.
    fn show_when_due(&mut self) {
        let begun_ms = self.clock.monotonic_ms();
        if self.are_views_old && self.viewing.is_due(begun_ms) {
            self.views.send_replace(Arc::new(build(&self.state)));
            self.are_views_old = false;
            self.viewing.done(begun_ms, self.clock.monotonic_ms());
        }
    }
}

impl Applier for Machine {
    fn apply(&mut self, index: u64, data: &[u8]) -> Vec<Reply> {
        let replies = if data.is_empty() {
            self.state.finish_entry(index);
            Vec::new()
        } else {
            // Committed by a majority and unreadable here: going on would make it differ.
            let entry = Entry::decode(data).expect("a committed entry decodes on every replica");
            self.apply_entry(index, &entry)
        };
        self.save_when_due();
        self.order_snapshot_when_due(index, data.len());
        replies
    }

    fn apply_change(&mut self, index: u64, context: &[u8]) -> (Vec<Reply>, Option<Membership>) {
        let changed = if context.is_empty() {
            let after = self.state.leave_joint();
            self.state.finish_entry(index);
            (Vec::new(), after)
        } else {
            self.change_members(index, context)
        };
        self.tell_members();
        self.save_when_due();
        changed
    }

    /// The snapshot, the leaves it speaks of, and the Raft log that begins after it are durable. A
    /// crash from here on, until the tables are saved: start-up loads this same snapshot.
    fn install(&mut self, meta: &SnapshotMeta) {
        let (index, begun_ms) = (meta.position.index, self.clock.monotonic_ms());
        let snapshot = self.disk.snapshots.snapshot(index);
        // Going on without it would leave a replica that applies entries to the wrong state.
        let snapshot = snapshot.expect("the snapshot to be installed is whole and durable");
        let state = state_source::load(&snapshot).expect("the snapshot to be installed is a state");
        let (expected, got) = (state.leaf_count(), self.recorder.size());
        assert!(got >= expected, "the snapshot speaks of {expected} leaves, here are {got}");
        self.state = state;
        self.orders.installed(snapshot.descriptor().bytes(), self.clock.monotonic_ms());
        if let Err(why) = self.disk.tables.replace(self.state.rows(), index) {
            let slug = why.slug();
            tracing::warn!(slug, %why, "tables not saved; the next start loads the snapshot");
        }
        self.saving.done(begun_ms, self.clock.monotonic_ms());
        if let Err(why) = self.disk.snapshots.prune(index) {
            tracing::warn!(slug = why.slug(), %why, "older snapshots stay");
        }
        self.tell_all();
        tracing::info!(index, leaves = expected, "the state is the snapshot's");
    }

    /// When views are due no sooner, this one comes with one of the next ticks.
    fn look(&mut self) {
        self.are_views_old |= self.views.borrow().applied_index < self.state.applied();
        self.show_when_due();
    }

    /// Before the state says anything of it, what the Raft log was made with.
    fn membership(&self) -> Option<Membership> {
        let voters = self.disk.raft_log.first_voters().iter().copied();
        let first = || Membership::of_voters(voters);
        Some(self.state.members().membership().cloned().unwrap_or_else(first))
    }
}

/// What the Raft log adds to an entry's data, near enough.
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// Batches change views too, but a tick follows each second and shows them all at once.
fn changes_views(command: &Command) -> bool {
    !matches!(command, Command::Admit { .. } | Command::Seal { .. } | Command::Cosign { .. })
}

fn changes_members(command: &Command) -> bool {
    matches!(
        command,
        Command::Genesis { .. }
            | Command::RaiseVersion { .. }
            | Command::InviteNode { .. }
            | Command::JoinNode { .. }
            | Command::LeaveNode { .. }
    )
}

/// Everything in force as one text; agents read the same documents as the ledger.
fn spec_snapshot(state: &State) -> SpecSnapshot {
    let newest = state.specs().newest();
    newest.map_or_else(SpecSnapshot::default, |(revision, text)| SpecSnapshot {
        revision,
        effective_at_ms: text.effective_at_ms,
        text: state.specs().in_force().to_yaml().into(),
    })
}
