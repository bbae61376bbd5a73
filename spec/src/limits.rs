//! Every bound of this crate: unit in the name, the reason, and what happens when it is reached.
//!
//! Reaching one is a [`Fault`](crate::Fault) at a place in a file, never a panic. Cut instead of
//! refused are only texts that we make for a reader: a report after [`FAULTS_MAX`] ("and N more"),
//! a repeated text after [`FAULT_TEXT_BYTES_MAX`] (`...`), and in silence a check's target after
//! [`TARGET_BYTES_MAX`] and the word that "did you mean" compares after [`COMPARED_CHARS_MAX`].

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

/// Characters of an unknown word that are compared with the known ones to find the nearest: the
/// comparison is quadratic. Reached: the rest is not looked at.
pub const COMPARED_CHARS_MAX: usize = 64;

/// A name: an RFC 1123 label. Reached: `bad_name`.
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
/// Reached: [`Probe::target`](crate::Probe::target) cuts, and nothing shows it.
pub const TARGET_BYTES_MAX: usize = 255;

/// Longest URL; common servers refuse longer ones.
pub const URL_BYTES_MAX: usize = 2_048;

/// Longest time ahead a certificate can be asked to be valid: ten years.
pub const EXPIRES_WITHIN_MS_MAX: u64 = 3_650 * 24 * 60 * 60 * 1_000;

/// Shortest time between two runs of a check: grids and numbers are made for seconds.
pub const INTERVAL_MS_MIN: u64 = 1_000;
/// Longest time between two runs of a check: each day shows at least one.
pub const INTERVAL_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// Shortest timeout of a check: less is over before a connection can be.
pub const TIMEOUT_MS_MIN: u64 = 10;
/// The default timeout's upper end; below it the default is half the interval.
pub const TIMEOUT_MS_DEFAULT_MAX: u64 = 10_000;

/// Compiled size of one regular expression: bounds an agent's memory, and the time a thousand
/// checks take to parse. Reached: `bad_regexp`.
pub const REGEX_BYTES_MAX: usize = 256 << 10;

/// Bytes of a response body an agent reads unless the spec says otherwise.
pub const BODY_BYTES_DEFAULT: u64 = 1 << 20;
/// The most a spec may ask for: an agent holds a body in memory when it looks for a text in it.
pub const BODY_BYTES_MAX: u64 = 16 << 20;

/// Redirects an agent follows in one run (blackbox_exporter's bound, from Go). Reached: the run
/// fails with `redirects`.
pub const REDIRECTS_MAX: u32 = 10;

/// Files one `files` check may cover unless the spec says otherwise.
pub const FILES_COUNT_DEFAULT: u64 = 100_000;
/// The most a spec may ask for: an agent holds the digests of all in memory. A tree with more than
/// its spec asks for is `agent_fault`: a part of a tree is never reported as the whole of it.
pub const FILES_COUNT_MAX: u64 = 1_000_000;

/// Shortest rolling window of an objective: as long as the shortest burn window.
pub const WINDOW_MS_MIN: u64 = 5 * 60 * 1_000;
/// Longest rolling window of an objective: every replica keeps a window's cells in memory.
pub const WINDOW_MS_MAX: u64 = 90 * 24 * 60 * 60 * 1_000;

/// A time slice is a whole number of these: the base cell of the window arithmetic.
pub const SLICE_UNIT_MS: u64 = 60 * 1_000;
