//! When acknowledged results were proven: how the newest published checkpoint grew, as anybody can
//! see it from outside.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::clock::Clock;
use super::load::Acked;
use crate::{api, wait};

/// Between two looks: the figure's resolution.
const LOOK: Duration = Duration::from_millis(25);

/// Looks at one replica's newest checkpoint, again and again.
pub(super) struct Watcher {
    stop: Arc<AtomicBool>,
    looking: JoinHandle<Published>,
}

/// Sizes of the published log and when they were first seen; both ascend.
pub(super) struct Published(Vec<(u64, u64)>);

impl Watcher {
    pub(super) fn start(http: SocketAddr, clock: Clock) -> Watcher {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let looking = thread::spawn(move || {
            let mut seen: Vec<(u64, u64)> = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let checkpoint = api::json(http, "/api/v1/checkpoint?consistency=stale");
                let size = checkpoint.and_then(|checkpoint| checkpoint["size"].as_u64());
                if let Some(size) =
                    size.filter(|size| seen.last().is_none_or(|last| last.1 < *size))
                {
                    seen.push((clock.now_us(), size));
                }
                wait::let_pass(LOOK);
            }
            Published(seen)
        });
        Watcher { stop, looking }
    }

    pub(super) fn stop(self) -> Published {
        self.stop.store(true, Ordering::Relaxed);
        self.looking.join().expect("it only looks")
    }
}

impl Published {
    /// From each ack to the checkpoint that covers its leaf. `acks` are all there were since the
    /// first look, ascending in time: the log then held nothing unpublished, so the n-th ack's leaf
    /// is the n-th since, give or take the few that the log writes itself.
    pub(super) fn lags_us(&self, acks: &[Acked], from_us: u64, until_us: u64) -> Vec<u64> {
        let Some((_, base)) = self.0.first() else { return Vec::new() };
        let within =
            acks.iter().enumerate().filter(|(_, ack)| (from_us..until_us).contains(&ack.at_us));
        let lag = |(at, ack): (usize, &Acked)| {
            let size = base + at as u64 + 1;
            let place = self.0.partition_point(|(_, seen)| *seen < size);
            self.0.get(place).map(|(at_us, _)| at_us.saturating_sub(ack.at_us))
        };
        within.filter_map(lag).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ack_waits_for_the_checkpoint_over_it() {
        let ack = |at_us| Acked { at_us, latency_us: 0, results: 1 };
        let published = Published(vec![(0, 10), (50, 12), (90, 13)]);
        let acks = [ack(20), ack(30), ack(60), ack(95)];
        assert_eq!(published.lags_us(&acks, 0, 100), [30, 20, 30]);
        assert_eq!(published.lags_us(&acks, 25, 50), [20]);
    }
}
