//! Every limit of the agent: its unit, its reason, and what happens when it is reached.

/// A number a user may choose, with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub min: u64,
    pub max: u64,
    pub default: u64,
}

impl Range {
    pub fn holds(&self, number: u64) -> bool {
        (self.min..=self.max).contains(&number)
    }
}

// --- chosen in the config file -----------------------------------------------------------------

/// Age of a batch's oldest result, milliseconds. Reached: the batch is sealed. Half a second keeps
/// pages fresh and lets one signature and one disk flush cover many results.
pub const BATCH_AGE_MS: Range = Range { min: 10, max: 60_000, default: 500 };

/// Results in a batch. Reached: the batch is sealed. Its payload stays well below what an
/// aggregator takes in one message.
pub const BATCH_RESULTS: Range = Range { min: 1, max: 2_000, default: 512 };

/// Bytes of sealed batches on disk. Reached: the oldest stay, new results are counted, and the
/// count is reported as `spool_full` when there is room again. The smallest still holds several
/// of the largest batches.
pub const SPOOL_BYTES: Range = Range { min: 16 << 20, max: 1 << 40, default: 256 << 20 };

/// Checks that run at one time. Reached: a due check is reported as `skipped_busy`. More at a time
/// make the agent measure itself.
pub const CONCURRENT_CHECKS: Range = Range { min: 1, max: 4_096, default: 64 };

// --- scheduling --------------------------------------------------------------------------------

/// How late a run may still start, milliseconds. Reached: the instant is reported as
/// `skipped_asleep`. What is measured later than this says little about the instant it is for.
pub const START_LAG_MS_MAX: u64 = 2_000;

/// The longest single sleep of the clock, milliseconds. After it the caller looks at the unix clock
/// again, so a host that slept, or a clock that was set, is noticed within this time.
pub const CLOCK_SLEEP_MS_MAX: u64 = 1_000;

/// Spec sets known but not yet in force. Reached: the newest waiting one is replaced, as its
/// successor would replace it a moment later anyway.
pub const PENDING_PLANS_MAX: usize = 16;

// --- checks ------------------------------------------------------------------------------------

/// Bytes of a response's header, in all. Reached: the run fails with `http_protocol`.
pub const HTTP_HEADER_BYTES_MAX: usize = 64 << 10;

pub use proofmark_spec::limits::REDIRECTS_MAX; // part of what a spec means

/// Bytes of a DNS answer over TCP (the format's own bound, RFC 1035 section 4.2.2).
pub const DNS_ANSWER_BYTES_MAX: usize = 65_535;

/// Bytes a TCP dialogue reads while waiting for one expected line. Reached: `response_too_large`.
pub const DIALOGUE_BYTES_MAX: usize = 64 << 10;

/// Directories below one another in a watched tree. Reached: the run is `agent_fault`; followed
/// links that lead in a circle end here.
pub const TREE_DEPTH_MAX: usize = 64;

/// Bytes read at a time while hashing a file.
pub const FILE_CHUNK_BYTES: usize = 64 << 10;

/// Names of changed files told in a result's detail. Reached: the rest is counted, not named.
pub const CHANGED_NAMES_MAX: usize = 4;

/// Time between the two readings that a CPU percentage needs, milliseconds (sysinfo's minimum is
/// 200). A host check with CPU rules takes at least this long.
pub const CPU_SAMPLE_MS: u64 = 250;

// --- spool -------------------------------------------------------------------------------------

/// Bytes of one segment file, and at most a quarter of the spool. Reached: the next batch opens a
/// new segment. Small enough that acknowledged ones are deleted soon, large enough that a full
/// spool is some dozens of files.
pub const SEGMENT_BYTES_MAX: u64 = 8 << 20;

/// Bytes of one record. A longer length in a file is damage, never an allocation.
pub const RECORD_BYTES_MAX: u32 = 4 << 20;

/// Wait before a failed spool write is tried again, milliseconds: a full disk is rarely emptied
/// sooner, and the results wait in memory.
pub const SPOOL_RETRY_MS: u64 = 1_000;

/// Orders and reports between the event loop and the spool's thread. The loop keeps one order of
/// each kind outstanding, so this is never reached.
pub const SPOOL_ORDERS_MAX: usize = 4;

// --- stopping ----------------------------------------------------------------------------------

/// Time running checks get to finish when the agent stops, milliseconds. Reached: they are cut
/// short and reported as `cancelled`.
pub const DRAIN_RUNS_MS_MAX: u64 = 5_000;

/// Time the aggregator gets to acknowledge what is spooled when the agent stops, milliseconds.
/// Reached: the agent exits; the spool is durable and the next start goes on.
pub const DRAIN_ACKS_MS_MAX: u64 = 3_000;

// --- admin port --------------------------------------------------------------------------------

/// Connections to the admin port at one time. Reached: the next waits in the listen queue.
pub const ADMIN_CONNECTIONS_MAX: usize = 16;

/// Wait after a failed accept, milliseconds: file descriptors are short and must come back first.
pub const ADMIN_RETRY_MS: u64 = 100;

/// Time one admin request may take, milliseconds. Reached: the connection is closed.
pub const ADMIN_REQUEST_MS_MAX: u64 = 5_000;

// --- uplink ------------------------------------------------------------------------------------

/// Sealed batches handed to the uplink and not yet taken by it. Reached: the sender waits; the
/// spool has them all.
pub const UPLINK_QUEUE_MAX: usize = 8;

/// Batches sent and not yet answered, kept to be sent again. An aggregator reads no more than this
/// of one stream at a time either.
pub const UPLINK_WINDOW_MAX: usize = 8;

/// Events the uplink has and the agent has not taken. Reached: the uplink waits, and with it, by
/// flow control, the aggregator.
pub const UPLINK_EVENTS_MAX: usize = 64;

/// One attempt to connect: TCP, TLS and Welcome each within this, milliseconds. Reached: the next
/// address is tried.
pub const UPLINK_CONNECT_MS_MAX: u64 = 5_000;

/// First and longest wait between attempts, milliseconds. Between them waits grow at random
/// (decorrelated jitter), so that a fleet does not come back at once.
pub const UPLINK_BACKOFF_MS_MIN: u64 = 100;
/// See [`UPLINK_BACKOFF_MS_MIN`].
pub const UPLINK_BACKOFF_MS_MAX: u64 = 10_000;

/// Wait after an aggregator said that a person must act, milliseconds. Trying on is how the agent
/// notices that somebody did.
pub const UPLINK_STOPPED_MS: u64 = 60_000;

/// Wait before a refused batch is sent again as it is, milliseconds, when the refusal may pass by
/// itself and names no delay.
pub const UPLINK_RETRY_MS: u64 = 1_000;

/// How long an aggregator may send batches back because it has no leader, milliseconds. Elections
/// take a quarter of it. Reached: the next address is tried.
pub const UPLINK_LEADERLESS_MS_MAX: u64 = 3_000;

/// Silence after which the uplink pings, milliseconds; aggregators close after 60 s of it.
pub const UPLINK_PING_MS: u64 = 20_000;

/// HTTP/2 keepalive and the wait for its answer, milliseconds: finds a connection that is gone.
pub const UPLINK_KEEPALIVE_MS: u64 = 10_000;
/// See [`UPLINK_KEEPALIVE_MS`].
pub const UPLINK_KEEPALIVE_TIMEOUT_MS: u64 = 5_000;

/// One message from an aggregator, bytes. A larger one ends the stream.
pub const UPLINK_MESSAGE_BYTES_MAX: usize = 4 << 20;

// --- identity ----------------------------------------------------------------------------------

/// Time for one attempt to enrol at one address, milliseconds. Reached: the next address is tried.
pub const ENROL_MS_MAX: u64 = 10_000;

/// Rounds over all addresses before enrolment gives up. Between them the waits of the uplink: an
/// agent may start before its aggregators, or while they elect a leader.
pub const ENROL_ROUNDS_MAX: u32 = 8;

/// Days left on the TLS certificate from which the agent warns. When none is left it is off the
/// air: certificates are not renewed yet, so a person must enrol it anew.
pub const CERTIFICATE_WARN_DAYS: i64 = 30;

/// Time between two looks at the certificate, milliseconds: a warning a day is seen and does not
/// drown the rest.
pub const CERTIFICATE_LOOK_MS: u64 = 24 * 60 * 60 * 1_000;
