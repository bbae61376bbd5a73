//! Whether this replica's log is the majority's. Once it is not, it never is again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use proofmark_evidence::Hash;

/// Where this replica and the replicated log disagree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Divergence {
    #[error("diverged_root: at size {size} expected root {expected}, got {got}")]
    Root { size: u64, expected: Hash, got: Hash },
    #[error("diverged_leaf: at index {index} expected leaf {expected}, got {got} on disk")]
    Leaf { index: u64, expected: Hash, got: Hash },
    #[error("diverged_signed: size {size} was cosigned with root {expected}, got {got}")]
    Signed { size: u64, expected: Hash, got: Hash },
}

/// Shared by the recorder, which sets it, and by all who serve, who ask it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health {
    is_diverged: Arc<AtomicBool>,
    divergence: Arc<OnceLock<Divergence>>,
}

impl Health {
    pub fn new() -> Self {
        Self::default()
    }

    /// Why this replica serves and signs no more; `None` while it does.
    pub fn divergence(&self) -> Option<&Divergence> {
        self.divergence.get()
    }

    pub fn is_diverged(&self) -> bool {
        self.is_diverged.load(Ordering::SeqCst)
    }

    /// The flag alone, for views.
    pub fn diverged_flag(&self) -> Arc<AtomicBool> {
        self.is_diverged.clone()
    }

    /// For good. The first reason stays.
    pub(super) fn diverge(&self, why: Divergence) {
        tracing::error!(fault = %why, "this replica's log differs: it stops serving and signing");
        let _ = self.divergence.set(why);
        self.is_diverged.store(true, Ordering::SeqCst);
    }
}
