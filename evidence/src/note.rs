//! C2SP signed notes: a text, an empty line, and lines of signatures by named keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::hash::sha256_parts;
use crate::key::{PublicKey, Signature, SigningKey};
use crate::limits::{NOTE_BYTES_MAX, NOTE_SIGNATURES_COUNT_MAX, ORIGIN_BYTES_MAX};

const SIGNATURE_START: &str = "\u{2014} ";

/// Why a text is not a signed note, or a key is not a verifier key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteFault {
    #[error("expected at most {expected} bytes of note, got {got}")]
    TooLarge { expected: usize, got: usize },
    #[error("expected a text ending in a newline, an empty line, then signature lines")]
    NotNote,
    #[error("expected no control characters but the newline")]
    ControlCharacter,
    #[error("expected `\u{2014} <name> <base64>`, got {got:?}")]
    SignatureLine { got: String },
    #[error("expected at most {expected} signatures, got more")]
    TooManySignatures { expected: usize },
    #[error("expected one signature of each key, got two of {name}")]
    SignedTwice { name: String },
    #[error("expected a key name without spaces, control characters and '+', got {got:?}")]
    KeyName { got: String },
    #[error("expected a verifier key `<name>+<hex8>+<base64>`, got {got:?}")]
    VerifierKey { got: String },
    #[error("signature type {got:#04x} of {name} is not supported yet: expected 0x01 or 0x04")]
    SignatureType { name: String, got: u8 },
    #[error("expected a valid signature of {name}")]
    BadSignature { name: String },
}

impl NoteFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "note_too_large",
            Self::NotNote => "note_malformed",
            Self::ControlCharacter => "note_control_character",
            Self::SignatureLine { .. } => "note_signature_line",
            Self::TooManySignatures { .. } => "note_too_many_signatures",
            Self::SignedTwice { .. } => "note_signed_twice",
            Self::KeyName { .. } => "note_key_name",
            Self::VerifierKey { .. } => "note_verifier_key",
            Self::SignatureType { .. } => "not_supported_yet",
            Self::BadSignature { .. } => "note_bad_signature",
        }
    }
}

/// What a key may be used for: the type byte of signed-note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum SignatureType {
    /// Ed25519 over the note's text: a log's own signature.
    Ed25519 = 0x01,
    /// Ed25519 over time and text: a cosignature/v1.
    CosignatureV1 = 0x04,
}

/// A public key under a name, as policies and Go's `note` package write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: SignatureType,
    key: PublicKey,
}

impl VerifierKey {
    pub fn new(name: &str, kind: SignatureType, key: PublicKey) -> Result<VerifierKey, NoteFault> {
        check_key_name(name)?;
        Ok(VerifierKey { name: name.to_owned(), kind, key })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kind(&self) -> SignatureType {
        self.kind
    }

    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The four bytes that, with the name, say in a note which key signed.
    pub fn key_id(&self) -> [u8; 4] {
        key_id(&self.name, self.kind, &self.key)
    }

    /// `<name>+<hex8 of the key id>+<base64 of type and key>`.
    pub fn to_text(&self) -> String {
        let id = u32::from_be_bytes(self.key_id());
        let key = STANDARD.encode([&[self.kind as u8], &self.key.0[..]].concat());
        format!("{}+{id:08x}+{key}", self.name)
    }

    /// The reverse of `to_text`; every other spelling is refused.
    pub fn parse(text: &str) -> Result<VerifierKey, NoteFault> {
        let fault = || NoteFault::VerifierKey { got: shorten(text) };
        let mut parts = text.splitn(3, '+');
        let mut next = || parts.next().ok_or_else(fault);
        let (name, id, key) = (next()?, next()?, next()?);
        let bytes = STANDARD.decode(key).map_err(|_| fault())?;
        let (&kind, key) = bytes.split_first().ok_or_else(fault)?;
        let kind = signature_type(kind)
            .ok_or_else(|| NoteFault::SignatureType { name: shorten(name), got: kind })?;
        let key = PublicKey(key.try_into().map_err(|_| fault())?);
        let verifier = VerifierKey::new(name, kind, key)?;
        let is_same = verifier.to_text() == text && id.len() == 8;
        if is_same { Ok(verifier) } else { Err(fault()) }
    }
}

/// One signature line: who says to have signed, and what came after the key id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    pub name: String,
    pub key_id: [u8; 4],
    /// Ed25519: 64 bytes. cosignature/v1: a time (u64, big endian), then 64 bytes.
    pub bytes: Vec<u8>,
}

impl NoteSignature {
    /// The line with its newline.
    pub fn line(&self) -> String {
        let blob = STANDARD.encode([&self.key_id[..], &self.bytes].concat());
        format!("{SIGNATURE_START}{} {blob}\n", self.name)
    }

    /// A line without its newline.
    pub fn parse_line(line: &str) -> Result<NoteSignature, NoteFault> {
        let fault = || NoteFault::SignatureLine { got: shorten(line) };
        let (name, blob) = line
            .strip_prefix(SIGNATURE_START)
            .and_then(|rest| rest.split_once(' '))
            .ok_or_else(fault)?;
        check_key_name(name)?;
        let blob = STANDARD.decode(blob).map_err(|_| fault())?;
        let (key_id, bytes) = blob.split_first_chunk().ok_or_else(fault)?;
        if bytes.is_empty() {
            return Err(fault());
        }
        Ok(NoteSignature { name: name.to_owned(), key_id: *key_id, bytes: bytes.to_vec() })
    }

    /// Whether this line claims to be by that key.
    pub fn is_by(&self, key: &VerifierKey) -> bool {
        self.key_id == key.key_id() && self.name == key.name
    }
}

/// A note taken apart. Nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What is signed: all bytes before the empty line, with the last newline.
    pub text: String,
    pub signatures: Vec<NoteSignature>,
}

impl Note {
    pub fn parse(note: &str) -> Result<Note, NoteFault> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteFault::TooLarge { expected: NOTE_BYTES_MAX, got: note.len() });
        }
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(NoteFault::ControlCharacter);
        }
        let split = note.rfind("\n\n").ok_or(NoteFault::NotNote)?;
        let (text, lines) = (&note[..split + 1], &note[split + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteFault::NotNote)?;
        Ok(Note { text: text.to_owned(), signatures: parse_signatures(lines)? })
    }

    pub fn to_text(&self) -> String {
        let lines: String = self.signatures.iter().map(NoteSignature::line).collect();
        format!("{}\n{lines}", self.text)
    }

    /// The signature line of this key, checked. `None` when the key did not sign.
    pub fn verified_by(&self, key: &VerifierKey) -> Result<Option<&NoteSignature>, NoteFault> {
        let Some(line) = self.signatures.iter().find(|line| line.is_by(key)) else {
            return Ok(None);
        };
        let fault = || NoteFault::BadSignature { name: key.name.clone() };
        let (message, signature) = match key.kind {
            SignatureType::Ed25519 => (self.text.clone(), &line.bytes[..]),
            SignatureType::CosignatureV1 => {
                let (time, signature) = line.bytes.split_first_chunk().ok_or_else(fault)?;
                (crate::cosignature::message(u64::from_be_bytes(*time), &self.text), signature)
            }
        };
        let signature = Signature(signature.try_into().map_err(|_| fault())?);
        key.key.verify(message.as_bytes(), &signature).map_err(|_| fault())?;
        Ok(Some(line))
    }
}

/// Signs a text with an Ed25519 key (type 0x01); the text ends in a newline.
pub fn sign_text(name: &str, key: &SigningKey, text: &str) -> NoteSignature {
    NoteSignature {
        name: name.to_owned(),
        key_id: key_id(name, SignatureType::Ed25519, &key.public()),
        bytes: key.sign(text.as_bytes()).0.to_vec(),
    }
}

/// `SHA256(name || 0x0A || type || key)`, the first four bytes.
pub fn key_id(name: &str, kind: SignatureType, key: &PublicKey) -> [u8; 4] {
    let hash = sha256_parts(&[name.as_bytes(), b"\n", &[kind as u8], &key.0]);
    [hash.0[0], hash.0[1], hash.0[2], hash.0[3]]
}

fn parse_signatures(lines: &str) -> Result<Vec<NoteSignature>, NoteFault> {
    let mut signatures: Vec<NoteSignature> = Vec::new();
    for line in lines.split('\n') {
        if signatures.len() == NOTE_SIGNATURES_COUNT_MAX {
            return Err(NoteFault::TooManySignatures { expected: NOTE_SIGNATURES_COUNT_MAX });
        }
        let next = NoteSignature::parse_line(line)?;
        if signatures.iter().any(|one| one.name == next.name && one.key_id == next.key_id) {
            return Err(NoteFault::SignedTwice { name: next.name });
        }
        signatures.push(next);
    }
    Ok(signatures)
}

fn signature_type(code: u8) -> Option<SignatureType> {
    [SignatureType::Ed25519, SignatureType::CosignatureV1]
        .into_iter()
        .find(|kind| *kind as u8 == code)
}

fn check_key_name(name: &str) -> Result<(), NoteFault> {
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > ORIGIN_BYTES_MAX || name.chars().any(is_bad) {
        return Err(NoteFault::KeyName { got: shorten(name) });
    }
    Ok(())
}

/// Wrong input goes into an error message; it may be any length.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}
