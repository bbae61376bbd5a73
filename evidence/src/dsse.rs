//! What a signature is made over: DSSE's pre-authentication encoding, which binds the bytes to
//! their type. <https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>

/// `"DSSEv1" SP LEN(type) SP type SP LEN(body) SP body`, lengths in bytes and decimal.
pub fn pae(payload_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), body.len());
    let mut encoded = head.into_bytes();
    encoded.extend_from_slice(body);
    encoded
}
