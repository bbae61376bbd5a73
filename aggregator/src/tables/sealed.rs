//! A value with its checksum: sled's own did not notice 5 of 40 flipped bits.

use super::TablesFault;

const CRC_BYTES: usize = 4;

/// CRC-32 of key and value, big endian, then the value. The key is covered so that a value under
/// another key is noticed too.
pub(super) fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(CRC_BYTES + value.len());
    sealed.extend_from_slice(&crc(key, value).to_be_bytes());
    sealed.extend_from_slice(value);
    sealed
}

/// The value, if it is what was written under this key.
pub(super) fn open<'a>(key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], TablesFault> {
    match sealed.split_first_chunk::<CRC_BYTES>() {
        Some((sum, value)) if *sum == crc(key, value).to_be_bytes() => Ok(value),
        _ => Err(TablesFault::Checksum { key: key.escape_ascii().to_string() }),
    }
}

fn crc(key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_taken_only_whole_and_under_its_own_key() {
        let sealed = seal(b"key", b"value");
        assert_eq!(open(b"key", &sealed).unwrap(), b"value");
        assert_eq!(open(b"key", &seal(b"key", b"")).unwrap(), b"");
        let fault = open(b"kez", &sealed).unwrap_err().to_string();
        let text = "tables_checksum: the value of key kez is not what was written";
        assert_eq!(fault, text);
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(b"key", &flipped).is_err(), "bit {bit} flipped unnoticed");
        }
        (0..sealed.len()).for_each(|len| assert!(open(b"key", &sealed[..len]).is_err()));
    }
}
