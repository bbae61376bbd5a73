//! What a signature is made over: DSSE's pre-authentication encoding, which binds the bytes to
//! their type. <https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>

/// `"DSSEv1" SP LEN(type) SP type SP LEN(body) SP body`, lengths in bytes and decimal.
pub fn pae(payload_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), body.len());
    let mut encoded = head.into_bytes();
    encoded.extend_from_slice(body);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of DSSE's protocol.md.
    #[test]
    fn hello_world() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    /// Lengths count bytes, not characters, and the body is taken as it is.
    #[test]
    fn lengths_are_in_bytes() {
        assert_eq!(pae("ö", b"\x00 "), "DSSEv1 2 ö 2 \0 ".as_bytes());
        assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
    }
}
