//! How the HTTP room learns that what it shows is as of now, without knowing of Raft.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::api::{Freshness, NotFresh};
use crate::consensus::{ConsensusHandle, ReadRefused};
use crate::limits::{HTTP_READ_MS_MAX, HTTP_READ_RETRY_S};
use crate::recorder::RecorderStatus;
use crate::views::StateView;

/// This replica's way from a question to everything that was acknowledged before it.
pub(super) struct Reads {
    pub(super) handle: ConsensusHandle,
    pub(super) views: watch::Receiver<Arc<StateView>>,
    pub(super) recorded: watch::Receiver<RecorderStatus>,
    pub(super) diverged: watch::Receiver<bool>,
}

impl Freshness for Reads {
    fn caught_up(&self) -> Pin<Box<dyn Future<Output = Result<(), NotFresh>> + Send + '_>> {
        Box::pin(async {
            if *self.diverged.borrow() {
                return Err(refused("diverged", "this replica's log differs from the majority's"));
            }
            let late = || refused("read_behind", format!("{HTTP_READ_MS_MAX} ms did not do"));
            let limit = Duration::from_millis(HTTP_READ_MS_MAX);
            timeout(limit, self.all_seen()).await.unwrap_or_else(|_| Err(late()))
        })
    }

    fn age_ms(&self, applied: u64) -> Option<u64> {
        self.handle.age_ms(applied)
    }
}

impl Reads {
    /// First the state, then what readers see of it, then what the recorder made of it.
    async fn all_seen(&self) -> Result<(), NotFresh> {
        let index = self.handle.read_index().await.map_err(|why| unconfirmed(&why))?;
        self.handle.look();
        let (mut views, mut recorded) = (self.views.clone(), self.recorded.clone());
        // A sender that is gone: this replica is ending.
        let ending = |_| refused(ReadRefused::Busy.slug(), "this replica is stopping");
        let seen = views.wait_for(|view| view.applied_index >= index).await;
        let seen = seen.map(|view| Arc::clone(&view)).map_err(ending)?;
        let is_written = |status: &RecorderStatus| {
            status.size >= seen.log_size && status.published_size >= seen.published_size
        };
        recorded.wait_for(is_written).await.map(drop).map_err(ending)
    }
}

fn unconfirmed(why: &ReadRefused) -> NotFresh {
    refused(why.slug(), why.to_string())
}

fn refused(slug: &'static str, got: impl std::fmt::Display) -> NotFresh {
    let message = format!(
        "expected a majority's word that this replica has everything, got: {got}; \
         ?consistency=stale shows what is here"
    );
    NotFresh { slug, message, retry_after_s: HTTP_READ_RETRY_S }
}
