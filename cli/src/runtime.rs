//! The tokio runtime of a daemon: as many workers as the machine has cores.

use std::future::Future;

use crate::exit::{Done, Exit, Failure};

/// Runs `program` to its end. What it left behind on other threads (a drain that was cut short)
/// holds nothing up: the process ends, and with it they do.
pub fn block_on(program: impl Future<Output = Done>) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::because(Exit::Storage))?;
    let done = runtime.block_on(program);
    runtime.shutdown_background();
    done
}
