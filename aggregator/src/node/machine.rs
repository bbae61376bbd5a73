//! The state machine behind Raft: applies entries, hands their effects on, saves the state.
//! Owned by the apply thread; nothing here waits for a socket.

use std::sync::Arc;

use tokio::sync::watch;

use super::agents::SharedAgents;
use super::spaced::Spaced;
use crate::clock::Clock;
use crate::command::{Command, Entry, Reply};
use crate::consensus::{Applier, Membership, SnapshotMeta};
use crate::ingest::SpecSnapshot;
use crate::limits::{
    TABLES_SAVE_COST_TIMES, TABLES_SAVE_INTERVAL_MS, TABLES_SAVE_PAUSE_MS_MAX, VIEWS_COST_TIMES,
    VIEWS_PAUSE_MS_MAX,
};
use crate::recorder::{RecorderHandle, RecorderTask};
use crate::state::{Effect, State};
use crate::tables::Tables;
use crate::views::{StateView, build};

/// The state, and everyone who is told what changed.
pub struct Machine {
    state: State,
    tables: Tables,
    recorder: RecorderHandle,
    agents: SharedAgents,
    views: watch::Sender<Arc<StateView>>,
    specs: watch::Sender<SpecSnapshot>,
    has_genesis: watch::Sender<bool>,
    clock: Clock,
    saving: Spaced,
    viewing: Spaced,
    /// Something changed that readers have not been shown.
    are_views_old: bool,
}

/// What others read of the machine.
pub struct MachineReaders {
    pub agents: SharedAgents,
    pub views: watch::Receiver<Arc<StateView>>,
    pub specs: watch::Receiver<SpecSnapshot>,
    /// Whether the log has its first leaf.
    pub has_genesis: watch::Receiver<bool>,
}

impl Machine {
    pub fn new(
        state: State,
        tables: Tables,
        recorder: RecorderHandle,
        clock: Clock,
    ) -> (Machine, MachineReaders) {
        let agents = SharedAgents::of(&state);
        let (views, views_seen) = watch::channel(Arc::new(build(&state)));
        let (specs, specs_seen) = watch::channel(spec_snapshot(&state));
        let (has_genesis, genesis_seen) = watch::channel(state.genesis().is_some());
        let now_ms = clock.monotonic_ms();
        let seen = MachineReaders {
            agents: agents.clone(),
            views: views_seen,
            specs: specs_seen,
            has_genesis: genesis_seen,
        };
        let machine = Machine {
            state,
            tables,
            recorder,
            agents,
            views,
            specs,
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
        let mut replies = Vec::with_capacity(entry.commands.len());
        let mut effects = Vec::new();
        for command in &entry.commands {
            for effect in self.state.apply(index, entry.stamped_at_ms, command) {
                match effect {
                    Effect::Reply(reply) => replies.push(reply),
                    other => effects.push(other),
                }
            }
        }
        self.state.finish_entry(index);
        if !effects.is_empty() {
            self.recorder.record(RecorderTask { index, effects });
        }
        self.tell(&entry.commands);
        replies
    }

    /// Readers see an entry only after it was applied whole.
    fn tell(&mut self, commands: &[Command]) {
        self.agents.update(&self.state, commands);
        self.are_views_old |= commands.iter().any(changes_views);
        self.show_when_due();
        if commands.iter().any(|command| matches!(command, Command::ApplySpec { .. })) {
            self.specs.send_replace(spec_snapshot(&self.state));
        }
        if commands.iter().any(|command| matches!(command, Command::Genesis { .. })) {
            self.has_genesis.send_replace(self.state.genesis().is_some());
        }
    }

    /// Saves the state to its tables. The evidence is made durable first: tables never run ahead.
    /// A fault costs only a longer next start, so it is said and not more.
    pub fn save(&mut self) {
        let begun_ms = self.clock.monotonic_ms();
        self.recorder.sync();
        // A crash here leaves evidence newer than the tables: the entries between are applied
        // again, and their leaves compared with those on disk.
        let rows = self.state.take_dirty_rows();
        if let Err(why) = self.tables.save(rows, self.state.applied()) {
            let slug = why.slug();
            tracing::warn!(slug, %why, "tables not saved; the next start replays more");
        }
        self.saving.done(begun_ms, self.clock.monotonic_ms());
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
        replies
    }

    /// No command of this version asks for another membership: whatever an entry asks for, the
    /// state keeps the one it has. Raft does as the state says.
    fn apply_change(&mut self, index: u64, context: &[u8]) -> (Vec<Reply>, Option<Membership>) {
        (self.apply(index, context), None)
    }

    /// Nothing here fetches a snapshot, so nobody can ask for this.
    fn install(&mut self, snapshot: &SnapshotMeta) {
        panic!("a snapshot at {} that was never fetched", snapshot.position.index);
    }

    fn membership(&self) -> Option<Membership> {
        None
    }
}

/// Batches change views too, but a tick follows each second and shows them all at once.
fn changes_views(command: &Command) -> bool {
    !matches!(command, Command::Admit { .. } | Command::Seal { .. } | Command::Cosign { .. })
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
