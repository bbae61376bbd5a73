//! How much memory judging one input may take.

/// Above what was in use: a decoder that believes a length before it has seen the bytes takes more.
const JUDGING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// And for each byte of the input: values are larger than their spelling, and laws keep copies.
const JUDGING_BYTES_PER_BYTE: usize = 256;

/// Panics if judging these bytes took more than it may.
pub fn check(bytes: &[u8], took_bytes: usize) {
    let limit = JUDGING_BYTES_MAX + JUDGING_BYTES_PER_BYTE * bytes.len();
    let len = bytes.len();
    assert!(took_bytes <= limit, "{took_bytes} bytes of memory for an input of {len}");
}
