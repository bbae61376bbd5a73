//! Every bound of this program's own: its unit, its reason, and what happens when it is reached.
//!
//! What the rooms that it starts are bound by stands in their own `limits.rs`.

use std::time::Duration;

/// One GET, the connection included. Reached: "no answer".
pub const HTTP_TIMEOUT: Duration = Duration::from_secs(20);

/// A body over HTTP, in bytes: no file of a log and no view is larger; a server that sends more is
/// not ours. Reached: the command fails and says so.
pub const HTTP_BODY_BYTES_MAX: usize = 512 << 20;

/// One RPC of an operator, the connection included. Reached: the next address is asked.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// How often all aggregators are asked while one says "not now". With the pauses about 5 s, longer
/// than an election. Reached: exit `unavailable`, and what they said.
pub const ASK_ROUNDS_MAX: u32 = 20;
/// The pause between two rounds.
pub const ASK_ROUND_PAUSE: Duration = Duration::from_millis(250);

/// How long the fresh group of `up` may take to elect and to write its first leaf. Reached: `up`
/// ends and says so.
pub const FIRST_LEAF_WAIT: Duration = Duration::from_secs(30);

/// Life of the join token that `up` makes for its own agent, in seconds: it is used at once.
pub const UP_TOKEN_TTL_S: u32 = 300;

/// One wait for the leaves of blobs that lie in a live directory already: a writer flushes once or
/// twice in between. `verify` asks 100 times at most (evidence's limits): two seconds in all,
/// longer than a disk stalls by itself; then the blobs belong to no leaf and their file is named.
pub const WRITER_WAIT: Duration = Duration::from_millis(20);
