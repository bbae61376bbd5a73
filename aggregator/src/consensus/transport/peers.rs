//! Who the other replicas are: as the state says; and until it speaks of one, as this node was told
//! when it was made, or as that one introduced itself. A replica that is behind does not know the
//! newest members, and one of them may lead.
//!
//! Here too the operator's slips are noticed: an old copy of a directory, two processes with one
//! identity, a removed node that comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proofmark_proto::PeerHello;
use tokio::sync::watch;

use super::PeerAddress;
use crate::command::COMMANDS_NEWEST;
use crate::identity::{IdentityFault, PeerStarts, Start, StartFault};
use crate::limits::{ADDRESS_BYTES_MAX, MEMBERS_PRESENT_MAX};

/// What the state says of the replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatePeers {
    /// The set of commands that every replica must know.
    pub version: u64,
    /// Where each one that is there listens for its peers. Empty: the state keeps no list yet.
    pub present: BTreeMap<u64, String>,
    pub gone: BTreeSet<u64>,
}

/// Why a peer is not listened to. Its operator must act, but for `InUse` and `Version`, which may
/// pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefused {
    #[error("removed_node: expected a replica of this cluster, got node {node_id}, removed")]
    Removed { node_id: u64 },
    #[error(
        "identity_old: expected start {expected} or later of this identity, got {got}: an old \
         copy of the data directory"
    )]
    Old { expected: u64, got: u64 },
    #[error(
        "identity_twice: expected one process with this identity, got a second one of start \
         {count}: the data directory was copied"
    )]
    Twice { count: u64 },
    #[error(
        "identity_in_use: expected one process with this identity, got start {got} beside {live}"
    )]
    InUse { live: u64, got: u64 },
    #[error("version_too_low: expected a program that knows commands {expected}, got {got}")]
    Version { expected: u64, got: u64 },
    #[error("start_nonce: expected 16 bytes, got {got}")]
    Nonce { got: usize },
    #[error("peers_full: expected at most {limit} replicas, got one more")]
    Full { limit: usize },
    #[error("peer_starts: {0}")]
    Starts(String),
}

impl PeerRefused {
    /// Refusals that say of the refused: you must not run. Whoever hears one ends.
    pub(super) const FINAL: [&'static str; 3] = ["removed_node", "identity_old", "identity_twice"];
    /// May pass when the older process's connection does.
    pub(super) const IN_USE: &'static str = "identity_in_use";
}

/// One replica's knowledge of the others. Shared by the transport and the rooms that ask.
pub struct PeerBook {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
    refused: watch::Sender<Option<Arc<str>>>,
}

struct Inner {
    own: u64,
    /// From the configuration, or from the reply to a join.
    told: BTreeMap<u64, String>,
    state: StatePeers,
    /// By their own hello.
    introduced: BTreeMap<u64, String>,
    starts: PeerStarts,
    live: BTreeMap<u64, Live>,
}

/// A peer whose stream is open.
struct Live {
    start: Start,
    commands_version: u64,
    streams: usize,
}

impl PeerBook {
    pub fn new(own: u64, told: Vec<PeerAddress>, starts: PeerStarts) -> Arc<PeerBook> {
        let told = told.into_iter().map(|peer| (peer.node_id, peer.address)).collect();
        let (state, introduced, live) = (StatePeers::default(), BTreeMap::new(), BTreeMap::new());
        let inner = Inner { own, told, state, introduced, starts, live };
        let (changed, refused) = (watch::Sender::new(0), watch::Sender::new(None));
        Arc::new(PeerBook { inner: Mutex::new(inner), changed, refused })
    }

    /// The state has changed its word.
    pub fn set_state(&self, state: StatePeers) {
        let mut inner = self.lock();
        if inner.state != state {
            inner.state = state;
            drop(inner);
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// Whom to dial, by ascending id.
    pub fn peers(&self) -> Vec<PeerAddress> {
        let inner = self.lock();
        let mut all = inner.told.clone();
        all.extend(inner.introduced.clone());
        all.extend(inner.state.present.clone());
        all.retain(|id, _| *id != inner.own && !inner.state.gone.contains(id));
        let peer = |(node_id, address)| PeerAddress { node_id, address };
        all.into_iter().map(peer).collect()
    }

    /// Rises when [`PeerBook::peers`] may have changed.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Resolves when the state says that this node was removed.
    pub(super) async fn gone(&self, node_id: u64) -> PeerRefused {
        let mut changed = self.changed();
        while !self.lock().state.gone.contains(&node_id) {
            if changed.changed().await.is_err() {
                return std::future::pending().await; // the book is gone, and with it the transport
            }
        }
        PeerRefused::Removed { node_id }
    }

    /// Why this replica must not run, once a peer has said so.
    pub fn refused(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.refused.subscribe()
    }

    pub(super) fn refuse_self(&self, why: &str) {
        self.refused.send_if_modified(|known| {
            let is_new = known.is_none();
            if is_new {
                *known = Some(why.into());
            }
            is_new
        });
    }

    /// The newest set of commands that every one of `ids` knows, of those connected now; `None`
    /// when one of them is not.
    pub fn commands_version(&self, ids: impl IntoIterator<Item = u64>) -> Option<u64> {
        let inner = self.lock();
        let known = |id| match id == inner.own {
            true => Some(COMMANDS_NEWEST),
            false => inner.live.get(&id).map(|live| live.commands_version),
        };
        ids.into_iter().map(known).try_fold(COMMANDS_NEWEST, |least, one| Some(least.min(one?)))
    }

    /// Listens to a peer until the guest is dropped.
    pub(super) fn admit(
        self: &Arc<Self>,
        node_id: u64,
        hello: &PeerHello,
    ) -> Result<Guest, PeerRefused> {
        let mut inner = self.lock();
        let start = inner.judge(node_id, hello)?;
        // Durable before a word of it counts: an older copy is refused from here on.
        let remembered = inner.starts.remember(node_id, start);
        remembered.map_err(|fault: IdentityFault| PeerRefused::Starts(fault.to_string()))?;
        let is_new = inner.introduce(node_id, &hello.address)?;
        let commands_version = hello.commands_version.max(1);
        let live = inner.live.entry(node_id);
        let live = live.or_insert(Live { start, commands_version, streams: 0 });
        live.streams += 1;
        drop(inner);
        if is_new {
            self.changed.send_modify(|count| *count += 1);
        }
        Ok(Guest { book: Arc::clone(self), node_id })
    }

    /// As [`PeerBook::admit`], for a call that ends by itself.
    pub(super) fn check(&self, node_id: u64, hello: &PeerHello) -> Result<(), PeerRefused> {
        self.lock().judge(node_id, hello).map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn judge(&self, node_id: u64, hello: &PeerHello) -> Result<Start, PeerRefused> {
        if self.state.gone.contains(&node_id) {
            return Err(PeerRefused::Removed { node_id });
        }
        let (expected, got) = (self.state.version, hello.commands_version.max(1));
        if got < expected {
            return Err(PeerRefused::Version { expected, got });
        }
        let start = start_of(hello)?;
        // An older program says nothing, and nothing is held against it.
        if start.count > 0 {
            self.starts.judge(node_id, &start).map_err(|fault| match fault {
                StartFault::Old { expected, got } => PeerRefused::Old { expected, got },
                StartFault::Twice { count } => PeerRefused::Twice { count },
            })?;
        }
        match self.live.get(&node_id) {
            Some(live) if live.start != start => {
                Err(PeerRefused::InUse { live: live.start.count, got: start.count })
            }
            _ => Ok(start),
        }
    }

    /// Whether somebody new is to be dialled.
    fn introduce(&mut self, node_id: u64, address: &str) -> Result<bool, PeerRefused> {
        let is_known =
            self.told.contains_key(&node_id) || self.state.present.contains_key(&node_id);
        if is_known || address.is_empty() || address.len() > ADDRESS_BYTES_MAX {
            return Ok(false);
        }
        let limit = MEMBERS_PRESENT_MAX;
        if self.introduced.len() >= limit && !self.introduced.contains_key(&node_id) {
            return Err(PeerRefused::Full { limit });
        }
        let before = self.introduced.insert(node_id, address.to_owned());
        Ok(before.as_deref() != Some(address))
    }
}

/// Count 0: an older program, which says nothing of its starts.
fn start_of(hello: &PeerHello) -> Result<Start, PeerRefused> {
    let count = hello.start_count;
    if count == 0 {
        return Ok(Start { count, nonce: [0; 16] });
    }
    let nonce = <[u8; 16]>::try_from(&hello.start_nonce[..]);
    let nonce = nonce.map_err(|_| PeerRefused::Nonce { got: hello.start_nonce.len() })?;
    Ok(Start { count, nonce })
}

/// A peer that is listened to.
pub(super) struct Guest {
    book: Arc<PeerBook>,
    node_id: u64,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut inner = self.book.lock();
        if let Some(live) = inner.live.get_mut(&self.node_id) {
            live.streams -= 1;
            if live.streams == 0 {
                inner.live.remove(&self.node_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(dir: &std::path::Path) -> Arc<PeerBook> {
        let told = vec![PeerAddress { node_id: 2, address: "b:1".to_owned() }];
        PeerBook::new(1, told, PeerStarts::open(dir).unwrap())
    }

    fn hello(count: u64, nonce: u8) -> PeerHello {
        PeerHello {
            commands_version: COMMANDS_NEWEST,
            start_count: count,
            start_nonce: vec![nonce; 16].into(),
            address: "c:1".to_owned(),
            ..PeerHello::default()
        }
    }

    fn slug<T>(admitted: Result<T, PeerRefused>) -> String {
        let told = admitted.map_or_else(|refused| refused.to_string(), |_| "taken".to_owned());
        told.split(':').next().unwrap().to_owned()
    }

    #[test]
    fn one_process_and_the_newest_copy_of_an_identity_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        let book = book(dir.path());
        let first = book.admit(2, &hello(5, 1)).unwrap();
        let second = book.admit(2, &hello(5, 1)); // it connected again before the old stream ended
        assert_eq!(slug(second), "taken");
        assert_eq!(slug(book.admit(2, &hello(6, 2))), "identity_in_use");
        assert_eq!(slug(book.admit(2, &hello(5, 2))), "identity_twice");
        assert_eq!(slug(book.admit(2, &hello(4, 1))), "identity_old");
        drop(first);
        assert_eq!(slug(book.admit(2, &hello(6, 2))), "taken", "a restart");
        assert_eq!(slug(book.admit(2, &hello(5, 1))), "identity_old", "the first one again");
        let mut short = hello(7, 1);
        short.start_nonce = vec![1; 3].into();
        assert_eq!(slug(book.admit(2, &short)), "start_nonce");
    }

    #[test]
    fn the_state_says_who_is_there_and_before_it_does_whoever_is_certified() {
        let dir = tempfile::tempdir().unwrap();
        let book = book(dir.path());
        let peers = |book: &PeerBook| {
            let peers = book.peers().into_iter();
            peers.map(|peer| format!("{} {}", peer.node_id, peer.address)).collect::<Vec<_>>()
        };
        assert_eq!(peers(&book), ["2 b:1"]);
        let guest = book.admit(3, &hello(1, 1)).unwrap();
        assert_eq!(peers(&book), ["2 b:1", "3 c:1"], "it introduced itself");
        assert_eq!(book.commands_version([1, 3]), Some(COMMANDS_NEWEST));
        assert_eq!(book.commands_version([1, 2]), None, "not connected");
        drop(guest);
        book.set_state(StatePeers {
            version: 2,
            present: BTreeMap::from([(1, "a:1".to_owned()), (3, "c:2".to_owned())]),
            gone: BTreeSet::from([2]),
        });
        assert_eq!(peers(&book), ["3 c:2"]);
        assert_eq!(slug(book.admit(2, &hello(9, 1))), "removed_node");
        let older = PeerHello { commands_version: 0, ..hello(2, 1) };
        assert_eq!(slug(book.admit(3, &older)), "version_too_low");
    }
}
