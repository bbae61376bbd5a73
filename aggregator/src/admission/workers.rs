//! Where admission runs: on blocking threads, at most one per core, because verifying signatures
//! is all CPU and the network's threads must not wait for it.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// As many places as cores. Whoever waits for one waits in order.
#[derive(Clone)]
pub struct AdmissionWorkers {
    places: Arc<Semaphore>,
}

impl AdmissionWorkers {
    /// One place per core of this machine.
    pub fn per_core() -> AdmissionWorkers {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        AdmissionWorkers { places: Arc::new(Semaphore::new(cores)) }
    }

    /// Runs `work` when a place is free. `None` only while the runtime shuts down.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let work = move || {
            let result = work();
            drop(place);
            result
        };
        tokio::task::spawn_blocking(work).await.ok()
    }
}
