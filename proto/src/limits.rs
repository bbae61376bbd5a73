//! Every bound of this crate: its unit, its reason, and what happens when it is reached.

/// One address in a join token, in bytes: a host name of 253 and a port. Reached: the token is
/// refused.
pub const TOKEN_ADDRESS_BYTES_MAX: usize = 260;

/// Addresses in a join token: still one short text that a person copies. Reached: the token is
/// refused.
pub const TOKEN_ADDRESSES_MAX: usize = 8;

/// What a stream's buffers begin with, in bytes for each direction: room for an ack or a small
/// batch. A larger message gets a larger one.
pub const STREAM_BUFFER_BYTES: usize = 1_024;

/// Messages that wait for one stream are sent together, up to so many bytes.
pub const STREAM_YIELD_BYTES: usize = 32 * 1_024;

/// A refusal's texts, in bytes each: all of it travels in HTTP/2 headers, which are bounded.
/// Reached: cut at a character's end.
pub const REFUSAL_TEXT_BYTES_MAX: usize = 1_024;
