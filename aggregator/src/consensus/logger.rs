//! The raft crate logs through slog; here its lines become tracing's.

use slog::{Drain, Level, Logger, Never, OwnedKVList, Record};

/// A logger that hands every line of the raft crate to tracing, as `target: "raft"`.
pub(crate) fn to_tracing() -> Logger {
    Logger::root(ToTracing, slog::o!())
}

struct ToTracing;

impl Drain for ToTracing {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(target: "raft", "{}", record.msg()),
            Level::Warning => tracing::warn!(target: "raft", "{}", record.msg()),
            // The crate says at info what our own lines say better: keep it for debugging.
            Level::Info | Level::Debug => tracing::debug!(target: "raft", "{}", record.msg()),
            Level::Trace => tracing::trace!(target: "raft", "{}", record.msg()),
        }
        Ok(())
    }
}
