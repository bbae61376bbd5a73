//! Every bound of this crate: unit in the name, the reason, and what happens when it is reached.
//!
//! Reaching one is always a [`Fault`](crate::Fault) at a place in a file, never a panic and never
//! a silent cut; the only exception is [`FAULTS_MAX`], which ends a report with "and N more".

/// One file's text. A thousand checks take about half of it. Reached: the file is refused unread.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Documents of one `parse`, and documents in force together. Reached: `too_large`.
pub const DOCUMENTS_MAX: usize = 1_000;

/// Mappings and sequences inside each other. Our deepest valid document needs 9.
/// Reached: the document is refused; the parser underneath keeps the same bound.
pub const NESTING_MAX: usize = 64;

/// What one file may weigh after its aliases are expanded: text plus [`NODE_WEIGHT_BYTES`] for
/// each node. An alias bomb ends here. Reached: the document is refused.
pub const EXPANDED_BYTES_MAX: usize = 16 << 20;

/// What a node weighs besides its text, so that many empty nodes weigh something too.
pub const NODE_WEIGHT_BYTES: usize = 64;

/// Faults reported in full by one `parse`. Reached: the rest is counted as "and N more".
pub const FAULTS_MAX: usize = 100;

/// Bytes of a user's own text repeated in a fault. Reached: cut, and `...` shows it.
pub const FAULT_TEXT_BYTES_MAX: usize = 80;

/// An RFC 1123 label.
pub const NAME_BYTES_MAX: usize = 63;

/// `displayName` (OpenSLO v1). Characters.
pub const DISPLAY_NAME_CHARS_MAX: usize = 63;

/// `description` (OpenSLO v1). Characters.
pub const DESCRIPTION_CHARS_MAX: usize = 1_050;

/// Entries of one list or map inside a document (agents, checks, headers, digests, ...), so that
/// no single document costs more than a small file. A manifest file holds more.
pub const LIST_ITEMS_MAX: usize = 1_000;

/// Any free text of a probe (body, what is sent, a path, an address). One probe stays small.
pub const PROBE_TEXT_BYTES_MAX: usize = 16 << 10;

/// A check's target as it stands in a signed batch header (one length byte there).
/// Reached: [`Probe::target`](crate::Probe::target) cuts.
pub const TARGET_BYTES_MAX: usize = 255;

/// Shortest and longest time between two runs of a check.
pub const INTERVAL_MS_MIN: u64 = 1_000;
pub const INTERVAL_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// Shortest timeout of a check, and the default's upper end (the default is half the interval).
pub const TIMEOUT_MS_MIN: u64 = 10;
pub const TIMEOUT_MS_DEFAULT_MAX: u64 = 10_000;

/// Compiled size of one regular expression: bounds an agent's memory, and the time a thousand
/// checks take to parse. Reached: `bad_regexp`.
pub const REGEX_BYTES_MAX: usize = 256 << 10;

/// Bytes of a response body an agent reads: the default, and the most a spec may ask for.
pub const BODY_BYTES_DEFAULT: u64 = 1 << 20;
pub const BODY_BYTES_MAX: u64 = 16 << 20;

/// Redirects an agent follows before the check fails (blackbox_exporter's bound, from Go).
pub const REDIRECTS_MAX: u32 = 10;

/// Files one `files` check may cover: the default, and the most a spec may ask for.
pub const FILES_COUNT_DEFAULT: u64 = 100_000;
pub const FILES_COUNT_MAX: u64 = 1_000_000;

/// Shortest and longest rolling window of an objective.
pub const WINDOW_MS_MIN: u64 = 5 * 60 * 1_000;
pub const WINDOW_MS_MAX: u64 = 90 * 24 * 60 * 60 * 1_000;

/// A time slice is a whole number of these: the base cell of the window arithmetic.
pub const SLICE_UNIT_MS: u64 = 60 * 1_000;
