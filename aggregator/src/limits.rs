//! Every bound of this program: its unit, its reason, and what happens when it is reached.
//!
//! Formats have their own bounds in the evidence crate; documents in the spec crate.

/// How often the leader's clock becomes a fact: a `Tick` command, in milliseconds.
/// Ticks move windows and find missing results; a slower tick only shows silence later.
pub const TICK_INTERVAL_MS: u64 = 1_000;

/// How long a leaf may wait for its checkpoint, in milliseconds. The leader proposes a seal this
/// often while there is something unsealed; nothing is lost when one is late.
pub const PROVEN_INTERVAL_MS: u64 = 250;

/// How often the state is saved to its tables, in milliseconds. Only the time of a restart
/// depends on it: what is not saved is applied again from the Raft log.
pub const TABLES_SAVE_INTERVAL_MS: u64 = 10_000;

/// How long a program drains after a signal, in milliseconds, before it ends all the same.
/// Nothing acknowledged depends on the drain.
pub const DRAIN_MS_MAX: u64 = 10_000;
