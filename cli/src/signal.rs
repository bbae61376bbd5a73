//! Ctrl-C and SIGTERM: the first begins the drain, the second ends the wait for it.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Done, Exit, Failure};

/// Listens from its making on. Without handlers (the system has no room for them) the signals keep
/// their default: the process ends, recovery is normal.
pub struct Signals {
    handlers: Option<[Signal; 2]>,
}

impl Signals {
    pub fn listen() -> Self {
        let both = signal(SignalKind::interrupt()).and_then(|interrupt| {
            signal(SignalKind::terminate()).map(|terminate| [interrupt, terminate])
        });
        Self { handlers: both.ok() }
    }

    /// The next SIGINT or SIGTERM.
    pub async fn next(&mut self) {
        let Some([interrupt, terminate]) = &mut self.handlers else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }

    /// Says so, and drains; a signal now ends the program at once.
    pub async fn drain(&mut self, drain: impl Future<Output = Done>) -> Done {
        println!("draining");
        tokio::select! {
            done = drain => done,
            () = self.next() => {
                let why = "drain_cut: expected the drain to end, got a second signal";
                Err(Failure::new(Exit::DrainCut, why))
            }
        }
    }
}
