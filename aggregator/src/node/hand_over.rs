//! A leader that ends gives leadership away first.

use std::time::Duration;

use tokio::time::timeout;

use crate::consensus::{ConsensusHandle, Role};
use crate::limits::LEADERSHIP_OFFER_MS;

/// While the doors are still open: who is connected here is forwarded to the new leader, and does
/// not wait for an election. From here on this replica leads no more. A group that has nobody to
/// take it waits for an election timeout at most, and ends without.
pub(super) async fn hand_over(handle: &ConsensusHandle) {
    handle.stand_down();
    let mut status = handle.status();
    let has_heirs = handle.progress().borrow().iter().any(|peer| peer.is_active);
    if status.borrow().role != Role::Leader || !has_heirs {
        return;
    }
    handle.hand_over();
    let taken = status.wait_for(|status| status.role != Role::Leader);
    let taken = timeout(Duration::from_millis(LEADERSHIP_OFFER_MS), taken).await;
    tracing::info!(in_time = taken.is_ok(), "leadership handed over before the end");
}
