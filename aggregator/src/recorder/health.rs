//! Whether this replica's log is the majority's. Once it is not, it is not until a restart: what
//! is wrong on its disk is still wrong then, and the next published seal finds it again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use proofmark_evidence::Hash;
use tokio::sync::watch;

/// Where this replica and the replicated log disagree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Divergence {
    /// A majority published another root: theirs is `expected`.
    #[error("diverged_root: at size {size} expected root {expected} as published, got {got}")]
    Root { size: u64, expected: Hash, got: Hash },
    #[error("diverged_leaf: at index {index} expected leaf {expected}, got {got} on disk")]
    Leaf { index: u64, expected: Hash, got: Hash },
    #[error("diverged_signed: size {size} was cosigned with root {expected}, got {got}")]
    Signed { size: u64, expected: Hash, got: Hash },
}

/// Shared by the recorder, which sets it, and by all who serve, who ask it. Clones share it.
#[derive(Clone, Debug)]
pub struct Health {
    diverged: Arc<watch::Sender<bool>>,
    divergence: Arc<OnceLock<Divergence>>,
    damaged: Arc<AtomicBool>,
}

impl Health {
    pub fn new() -> Self {
        Self {
            diverged: Arc::new(watch::Sender::new(false)),
            divergence: Arc::default(),
            damaged: Arc::default(),
        }
    }

    /// Why this replica serves and signs no more; `None` while it does.
    pub fn divergence(&self) -> Option<&Divergence> {
        self.divergence.get()
    }

    pub fn is_diverged(&self) -> bool {
        *self.diverged.borrow()
    }

    /// The flag alone, for those who serve and for views; raised at most once.
    pub fn diverged(&self) -> watch::Receiver<bool> {
        self.diverged.subscribe()
    }

    /// Whether old evidence was found damaged here: this replica signs no more.
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Until a restart. Said by whoever found it; all but signing goes on.
    pub fn damage(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    /// Until a restart. The first reason stays.
    pub(super) fn diverge(&self, why: Divergence) {
        tracing::error!(fault = %why, "this replica's log differs: it stops serving and signing");
        let _ = self.divergence.set(why);
        self.diverged.send_replace(true);
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}
