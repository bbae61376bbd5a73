//! C2SP cosignature/v1: a witness says that it saw this checkpoint, consistent with all it had
//! seen before, at this time. Our nodes are witnesses of their own log once its files are durable.

use crate::key::{Signature, SigningKey};
use crate::note::{NoteFault, NoteSignature, SignatureType, key_id};

/// One cosigner's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// Not part of what is signed: so no two names may share a key.
    pub name: String,
    pub key_id4: [u8; 4],
    /// Unix seconds at the cosigner, at most 2^63 - 1.
    pub timestamp_s: u64,
    pub signature: Signature,
}

/// What a cosigner signs: the time, then the whole text of the checkpoint.
pub fn message(timestamp_s: u64, checkpoint_text: &str) -> String {
    format!("cosignature/v1\ntime {timestamp_s}\n{checkpoint_text}")
}

/// Cosigns a checkpoint's text.
pub fn cosign(
    name: &str,
    key: &SigningKey,
    timestamp_s: u64,
    checkpoint_text: &str,
) -> Cosignature {
    Cosignature {
        name: name.to_owned(),
        key_id4: key_id(name, SignatureType::CosignatureV1, &key.public()),
        timestamp_s,
        signature: key.sign(message(timestamp_s, checkpoint_text).as_bytes()),
    }
}

impl Cosignature {
    /// The signature line with its newline.
    pub fn line(&self) -> String {
        let bytes = [&self.timestamp_s.to_be_bytes()[..], &self.signature.0].concat();
        NoteSignature { name: self.name.clone(), key_id: self.key_id4, bytes }.line()
    }

    /// A line, with or without its newline. Verifies nothing.
    pub fn parse_line(line: &str) -> Result<Cosignature, NoteFault> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        Cosignature::from_note_signature(&NoteSignature::parse_line(line)?)
    }

    /// Takes a line's bytes apart: 8 of time, 64 of signature.
    pub fn from_note_signature(line: &NoteSignature) -> Result<Cosignature, NoteFault> {
        let fault = || NoteFault::SignatureLine { got: line.line().trim_end().to_owned() };
        let (time, signature) = line.bytes.split_first_chunk().ok_or_else(fault)?;
        let timestamp_s = u64::from_be_bytes(*time);
        let signature = signature.try_into().map_err(|_| fault())?;
        if i64::try_from(timestamp_s).is_err() {
            return Err(fault());
        }
        Ok(Cosignature {
            name: line.name.clone(),
            key_id4: line.key_id,
            timestamp_s,
            signature: Signature(signature),
        })
    }
}
