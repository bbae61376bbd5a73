//! How often this directory was started, and what its peers remember of that.
//!
//! A replica that comes back from an old copy of its directory has forgotten votes and entries that
//! others count on; two processes with one identity vote twice. Both show in a number that every
//! start raises before it says anything, and in sixteen random bytes of that start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use super::fault::IdentityFault;
use super::files;

const STARTS_FILE: &str = "starts.json";
const PEER_STARTS_FILE: &str = "peer-starts.json";

/// One start of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// From 1.
    pub count: u64,
    pub nonce: [u8; 16],
}

impl Start {
    /// The next start of the replica whose identity lies in `dir`; durable before it returns.
    pub fn begin(dir: &Path) -> Result<Start, IdentityFault> {
        let path = dir.join(STARTS_FILE);
        let before: u64 = match files::read_secret(&path) {
            Ok(count) => count,
            Err(IdentityFault::Missing { .. }) => 0,
            Err(fault) => return Err(fault),
        };
        let mut nonce = [0; 16];
        SystemRandom::new().fill(&mut nonce).map_err(|_| IdentityFault::Random)?;
        let start = Start { count: before + 1, nonce };
        files::write_secret(&path, &start.count)?;
        // A crash here leaves a number that no start has said: the next one says a higher.
        Ok(start)
    }
}

/// Why a peer's start is not believed. For the operator of that peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFault {
    /// A later start was heard: this directory is an old copy.
    Old { expected: u64, got: u64 },
    /// The same start with other bytes: the directory was copied, and both copies run.
    Twice { count: u64 },
}

/// The newest start heard of each peer, durable.
#[derive(Debug)]
pub struct PeerStarts {
    path: PathBuf,
    heard: BTreeMap<u64, Start>,
}

impl PeerStarts {
    pub fn open(dir: &Path) -> Result<PeerStarts, IdentityFault> {
        let path = dir.join(PEER_STARTS_FILE);
        let heard = match files::read_secret(&path) {
            Ok(heard) => heard,
            Err(IdentityFault::Missing { .. }) => BTreeMap::new(),
            Err(fault) => return Err(fault),
        };
        Ok(PeerStarts { path, heard })
    }

    /// Whether a peer that says this may be listened to. Changes nothing.
    pub fn judge(&self, node_id: u64, start: &Start) -> Result<(), StartFault> {
        match self.heard.get(&node_id) {
            Some(heard) if start.count < heard.count => {
                Err(StartFault::Old { expected: heard.count, got: start.count })
            }
            Some(heard) if start.count == heard.count && start.nonce != heard.nonce => {
                Err(StartFault::Twice { count: start.count })
            }
            _ => Ok(()),
        }
    }

    /// Durable before the peer is listened to: an older copy of it is refused from here on.
    pub fn remember(&mut self, node_id: u64, start: Start) -> Result<(), IdentityFault> {
        if self.heard.get(&node_id) == Some(&start) {
            return Ok(());
        }
        self.heard.insert(node_id, start);
        files::write_secret(&self.path, &self.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_is_higher_than_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let one = Start::begin(dir.path()).unwrap();
        let two = Start::begin(dir.path()).unwrap();
        assert_eq!((one.count, two.count), (1, 2));
        assert_ne!(one.nonce, two.nonce);
    }

    #[test]
    fn an_old_copy_and_a_second_process_are_told_from_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let start = |count, nonce| Start { count, nonce: [nonce; 16] };
        let mut peers = PeerStarts::open(dir.path()).unwrap();
        peers.remember(2, start(5, 1)).unwrap();
        let peers = PeerStarts::open(dir.path()).unwrap();
        let check = |start: Start, expect| assert_eq!(peers.judge(2, &start), expect);
        check(start(5, 1), Ok(())); // it only connects again
        check(start(6, 9), Ok(())); // a restart
        check(start(5, 2), Err(StartFault::Twice { count: 5 }));
        check(start(4, 1), Err(StartFault::Old { expected: 5, got: 4 }));
        assert_eq!(peers.judge(3, &start(1, 1)), Ok(()), "never heard");
    }
}
