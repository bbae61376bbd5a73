//! The tokio runtime of a daemon: as many workers as the machine has cores.

use std::future::Future;

use crate::exit::{Done, Exit, Failure};

/// Runs `program` to its end.
pub fn block_on(program: impl Future<Output = Done>) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(Failure::because(Exit::Storage))?.block_on(program)
}
