//! What agents were told: how far each says, on its admin port, that its results are acknowledged.
//!
//! Watched for as long as they live, because an agent that is killed forgets what it said.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::{api, wait};

const ACKNOWLEDGED: &str = "proofmark_agent_sequence_acknowledged ";
const NEXT: &str = "proofmark_agent_sequence_next ";

/// One watcher for each agent. Dropping it ends them.
pub struct Acks {
    stop: Arc<AtomicBool>,
    heard: Arc<Mutex<BTreeMap<String, u64>>>,
    watchers: Vec<JoinHandle<()>>,
}

impl Acks {
    /// Watches each agent's admin port.
    pub fn watch(agents: impl IntoIterator<Item = (String, SocketAddr)>) -> Acks {
        let mut acks = Acks { stop: Arc::default(), heard: Arc::default(), watchers: Vec::new() };
        for (agent, admin) in agents {
            let (stop, heard) = (Arc::clone(&acks.stop), Arc::clone(&acks.heard));
            acks.watchers.push(thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    if let Some(seq_end) = gauge(admin, ACKNOWLEDGED) {
                        let mut heard = lock(&heard);
                        let highest = heard.entry(agent.clone()).or_default();
                        *highest = seq_end.max(*highest);
                    }
                    wait::moment();
                }
            }));
        }
        acks
    }

    /// For each agent the first number of which it never said that it is acknowledged.
    pub fn heard(&self) -> BTreeMap<String, u64> {
        lock(&self.heard).clone()
    }
}

impl Drop for Acks {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for watcher in self.watchers.drain(..) {
            // A watcher that panicked has said so.
            let _ = watcher.join();
        }
    }
}

/// How many results an agent has sealed that nobody acknowledged yet.
pub fn waiting(admin: SocketAddr) -> Option<u64> {
    Some(gauge(admin, NEXT)?.saturating_sub(gauge(admin, ACKNOWLEDGED)?))
}

fn gauge(admin: SocketAddr, name: &str) -> Option<u64> {
    let (_, page) = api::get(admin, "/metrics")?;
    let page = String::from_utf8(page).ok()?;
    page.lines().find_map(|line| line.strip_prefix(name)?.parse().ok())
}

fn lock(heard: &Mutex<BTreeMap<String, u64>>) -> MutexGuard<'_, BTreeMap<String, u64>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
