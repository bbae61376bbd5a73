//! Every bound of the evidence formats: unit in the name, reason, what happens when it is reached.
//!
//! Decoders check these before they allocate. Raising one changes what version 1 accepts, so an
//! old verifier would refuse what a new writer wrote: that needs a new schema number.

/// Whole leaf. A log bundle prefixes leaves with a u16 and readers hold a bundle of 256 in memory:
/// 4 KiB keeps that at 1 MiB. Above it `Leaf::seal` and `Leaf::parse` refuse with `leaf_too_large`.
pub const LEAF_BYTES_MAX: usize = 4096;
/// Version byte, kind byte, Ed25519 signature.
pub const LEAF_ENVELOPE_BYTES: usize = 1 + 1 + 64;
/// What remains of a leaf for the signed header.
pub const HEADER_BYTES_MAX: usize = LEAF_BYTES_MAX - LEAF_ENVELOPE_BYTES;

/// Payload blob beside one leaf: a reader holds one in memory, and a bundle of 256 must stay one
/// file. Above it sealing refuses with `payload_too_large`. A batch's is smaller, see
/// [`BATCH_PAYLOAD_BYTES_MAX`]; those that the log makes itself do not travel.
pub const BLOB_BYTES_MAX: usize = 1 << 20;

/// Results of one batch on its way from an agent, in bytes: less than a blob may have, so that with
/// its leaf and the wire's own bytes it fits one command and one message, 1 MiB each (held in the
/// aggregator's limits). An agent closes its batch before; an aggregator refuses a larger one for
/// good.
pub const BATCH_PAYLOAD_BYTES_MAX: usize = 960 * 1024;
const _: () = assert!(BATCH_PAYLOAD_BYTES_MAX + LEAF_BYTES_MAX < BLOB_BYTES_MAX);

/// Results of one batch. The batcher closes the batch when it is reached.
pub const RESULTS_COUNT_MAX: usize = 4096;
/// One result: 256 bytes of detail and every measurement there is at its widest stay below.
pub const RESULT_BYTES_MAX: usize = 1024;
/// Words of one failed or unknown result; `CheckResult::new` cuts at a character boundary.
pub const DETAIL_BYTES_MAX: usize = 256;

/// Rows of a batch's check table. The batcher closes the batch when it is reached.
pub const CHECKS_COUNT_MAX: usize = 256;
/// A check's target as it is shown (a URL without its secrets, a path, `host:port`).
pub const TARGET_BYTES_MAX: usize = 255;
/// Everything in a batch header that is not a row of the check table, at its widest.
pub const BATCH_FIXED_BYTES_MAX: usize = 512;
/// A batch whose rows' `CheckRef::encoded_len` add up to at most this always fits its leaf.
/// The batcher closes the batch before it is passed.
pub const CHECK_TABLE_BYTES_MAX: usize = HEADER_BYTES_MAX - BATCH_FIXED_BYTES_MAX;

/// Agent and check names: an RFC 1123 label.
pub const LABEL_BYTES_MAX: usize = 63;
/// A log's or a cosigner's name: with a vkey it still fits a line a person can read.
pub const ORIGIN_BYTES_MAX: usize = 200;
/// Who applied a spec, as the certificate names them.
pub const AUTHOR_BYTES_MAX: usize = 63;
/// Nodes of one aggregator, as named in the log's first leaf: all of them must fit that leaf.
pub const NODES_COUNT_MAX: usize = 15;
/// Rows of one coverage decision; at their widest they fit a payload blob. The decider splits.
pub const COVERAGE_ROWS_COUNT_MAX: usize = 7000;

/// Any time stamp: 9999-12-31T23:59:59.999Z in Unix milliseconds. It keeps every sum of a time
/// and an offset far from overflow, and dates printable.
pub const TIME_MS_MAX: u64 = 253_402_300_799_999;

/// A signed note: three lines and up to 64 signatures. Larger ones are refused unread.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
/// C2SP asks for at least 16; a group of nodes and the public witnesses stay below.
pub const NOTE_SIGNATURES_COUNT_MAX: usize = 64;
/// A policy file. Larger ones are refused.
pub const POLICY_BYTES_MAX: usize = 64 * 1024;
/// C2SP asks for at least 32 logs, 32 witnesses and 32 groups, with room for comments.
pub const POLICY_LINES_COUNT_MAX: usize = 1024;
/// The file `transitions`: one note of our own (some 3 KiB with 15 nodes) and one policy for every
/// change of the cosigners there ever was. Larger ones are refused unread.
pub const TRANSITIONS_BYTES_MAX: usize = 16 << 20;
/// Changes of the cosigners in a log's life. A node's name, like its id, is used once, and the
/// aggregator gives out fewer than half as many. More are refused.
pub const TRANSITIONS_COUNT_MAX: usize = 2048;
/// Changes of the cosigners under one checkpoint, as told to an agent. More are refused.
pub const ROLL_OVER_CHANGES_COUNT_MAX: usize = 2 * NODES_COUNT_MAX;
/// A proof file: two leaves, one result, four paths of at most 64 hashes, a checkpoint.
pub const PROOF_BYTES_MAX: usize = 256 * 1024;
/// Hashes of one path in a proof: a tree of 2^64 leaves is 64 rows high. More are refused.
pub const PATH_COUNT_MAX: usize = 64;
/// Levels of tiles: `256^8` leaves are one too many for a `u64` size. A higher one is no file of a
/// log.
pub const LEVELS_COUNT_MAX: u8 = 8;
/// A full tile. A larger file under a tile's name is refused unread.
pub const TILE_BYTES_MAX: u64 = 256 * 32;
/// A bundle of 256 leaves, each of the largest size. A larger file is refused unread.
pub const ENTRIES_BYTES_MAX: u64 = 256 * (2 + LEAF_BYTES_MAX as u64);
/// Any one file of a log: a bundle of 256 blobs, each of the largest size. Larger is refused.
pub const LOG_FILE_BYTES_MAX: u64 = 256 * (4 + BLOB_BYTES_MAX as u64);
/// Bundles written between two points of durability; bounds what a crash can leave half done.
pub const SYNC_BUNDLES_COUNT_MAX: u64 = 16;
/// Directories whose names a writer remembers to be durable. Beyond it forgets them all and syncs
/// the next ones once more.
pub const DURABLE_DIRS_COUNT_MAX: usize = 1024;
/// Files a reader keeps in memory: the right edge of every level and some bundles.
pub const READER_FILES_COUNT_MAX: usize = 32;
/// Faults that a report lists. Further ones are counted, so that ruins do not fill the memory.
pub const FAULTS_REPORTED_COUNT_MAX: usize = 100;
/// How often `verify` asks its source to wait for the leaves of blobs that are there already. How
/// long one wait takes is the source's matter: this crate has no clock.
/// Reached: the blobs belong to no leaf, and `verify` names their file.
pub const WRITER_WAITS_COUNT_MAX: u32 = 100;
