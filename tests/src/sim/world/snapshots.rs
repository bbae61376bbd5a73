//! The log is let go of, and who lags too far fetches a snapshot.

use proofmark_aggregator::consensus::{Position, SnapshotOffer};

use super::power::End;
use super::{Event, World};
use crate::sim::Planted;
use crate::sim::replica::Fetched;

impl World {
    /// The driver says how far the log may go; the log thread lets go of it.
    pub(super) fn compacted(&mut self, node: usize, to: Option<Position>) -> Result<(), String> {
        let (Some(to), Some(up)) = (to, &self.nodes[node].replica.up) else { return Ok(()) };
        let done = up.log.store.compact(to).map_err(|fault| format!("raft log: {fault}"));
        self.faults.compactions += 1;
        self.say(|| format!("node {} lets go of its log up to {}", node + 1, to.index));
        self.or_crash(node, done)
    }

    /// A leader has nothing left from where this node could go on: it fetches the snapshot.
    pub(super) fn offered(&mut self, node: usize, offer: Option<SnapshotOffer>) {
        let Some(offer) = offer else { return };
        let from = usize::try_from(offer.from - 1).expect("a node");
        let Some(up) = &mut self.nodes[node].replica.up else { return };
        if std::mem::replace(&mut up.fetching, true) {
            return;
        }
        let fetched = self.nodes[from].replica.serve_snapshot(&offer.meta);
        let life = self.nodes[node].replica.life;
        let Some(fetched) = fetched else {
            self.up(node).fetching = false;
            return; // there is a newer one by now: it will be offered
        };
        let index = offer.meta.position.index;
        self.say(|| {
            format!("node {} fetches the snapshot at {index} from node {}", node + 1, from + 1)
        });
        let in_ms = self.rng.between(50, 600);
        self.plan(in_ms, Event::Fetched { node, life, fetched: Box::new(fetched) });
    }

    /// All of it is here: first it is durable, then the log may start over from it.
    pub(super) fn fetched(
        &mut self,
        node: usize,
        life: u64,
        fetched: &Fetched,
    ) -> Result<(), String> {
        if !self.lives(node, life) {
            return Ok(());
        }
        self.up(node).fetching = false;
        if self.up(node).machine.applied() >= fetched.meta.position.index {
            return Ok(()); // it has caught up by itself meanwhile
        }
        // From here on the saved state is the snapshot, and nothing takes its place.
        self.up(node).installing = Some(fetched.meta.position.index);
        self.up(node).driver.install(fetched.meta.clone());
        if self.planted == Some(Planted::LogClearedBeforeSnapshot) {
            return self.settle(node);
        }
        // A crash here leaves a snapshot nobody asked for: the log goes on where it was.
        let done = self.nodes[node].replica.keep_fetched(fetched);
        self.or_crash(node, done)?;
        self.settle(node)
    }

    /// The log starts over, durably: the state is taken from the snapshot, as at a start.
    pub(super) fn installed(&mut self, node: usize) -> Result<(), String> {
        self.faults.snapshots_installed += 1;
        self.say(|| format!("node {} starts over from its snapshot", node + 1));
        self.crash_node(node, End::Killed, 1);
        Ok(())
    }
}
