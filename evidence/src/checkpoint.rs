//! C2SP checkpoints: which tree, how large, which root; signed by the log and cosigned by others.

use crate::hash::Hash;
use crate::key::SigningKey;
use crate::merkle::empty_root;
use crate::name::Origin;
use crate::note::{Note, NoteFault, NoteSignature, sign_text};

/// A state of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: Origin,
    pub size: u64,
    pub root: Hash,
}

/// Why a text is not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointFault {
    #[error("expected the lines origin, size and root, got {got:?}")]
    Lines { got: String },
    #[error("expected a decimal size below 2^63 without leading zeros, got {got:?}")]
    Size { got: String },
    #[error("expected the root of the empty tree for size 0, got {got}")]
    EmptyRoot { got: Hash },
    #[error(transparent)]
    Note(#[from] NoteFault),
}

impl CheckpointFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Lines { .. } => "checkpoint_lines",
            Self::Size { .. } => "checkpoint_size",
            Self::EmptyRoot { .. } => "checkpoint_empty_root",
            Self::Note(fault) => fault.slug(),
        }
    }
}

impl Checkpoint {
    /// The three lines that are signed. We write no extension lines.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64())
    }

    /// Reads the three lines; extension lines after them are allowed, as C2SP wants.
    pub fn parse(text: &str) -> Result<Checkpoint, CheckpointFault> {
        let fault = || CheckpointFault::Lines { got: text.chars().take(80).collect() };
        let mut lines = text.strip_suffix('\n').ok_or_else(fault)?.split('\n');
        let mut next = || lines.next().ok_or_else(fault);
        let origin = Origin::parse(next()?).map_err(|_| fault())?;
        let size = parse_size(next()?)?;
        let root = Hash::from_base64(next()?).map_err(|_| fault())?;
        if lines.any(str::is_empty) {
            return Err(fault());
        }
        if size == 0 && root != empty_root() {
            return Err(CheckpointFault::EmptyRoot { got: root });
        }
        Ok(Checkpoint { origin, size, root })
    }
}

/// A checkpoint with its signature lines. Parsing verifies none of them: see `Policy::check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    pub checkpoint: Checkpoint,
    /// The bytes that are signed.
    pub text: String,
    pub signatures: Vec<NoteSignature>,
}

impl SignedCheckpoint {
    pub fn parse(note: &str) -> Result<SignedCheckpoint, CheckpointFault> {
        let Note { text, signatures } = Note::parse(note)?;
        Ok(SignedCheckpoint { checkpoint: Checkpoint::parse(&text)?, text, signatures })
    }

    pub fn note(&self) -> Note {
        Note { text: self.text.clone(), signatures: self.signatures.clone() }
    }

    /// The whole note: the bytes of the file `checkpoint`.
    pub fn to_text(&self) -> String {
        self.note().to_text()
    }
}

/// The log's own signature line over a checkpoint's text, with its newline.
pub fn log_signature_line(origin: &Origin, key: &SigningKey, text: &str) -> String {
    sign_text(origin.as_str(), key, text).line()
}

/// Sizes end at 2^63 - 1, as in Go's readers; so no sum of an index and a width overflows.
fn parse_size(text: &str) -> Result<u64, CheckpointFault> {
    let size = parse_decimal(text)?;
    match i64::try_from(size) {
        Ok(_) => Ok(size),
        Err(_) => Err(CheckpointFault::Size { got: text.to_owned() }),
    }
}

/// Digits without leading zeros, up to `u64::MAX`.
pub(crate) fn parse_decimal(text: &str) -> Result<u64, CheckpointFault> {
    let number = text.parse::<u64>().ok().filter(|number| number.to_string() == text);
    number.ok_or_else(|| CheckpointFault::Size { got: text.chars().take(40).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    #[test]
    fn three_lines_make_a_checkpoint() {
        let text = format!("example.com/log\n0\n{ROOT}\n");
        let checkpoint = Checkpoint::parse(&text).unwrap();
        assert_eq!((checkpoint.size, checkpoint.root), (0, empty_root()));
        assert_eq!(checkpoint.to_text(), text);
        let extended = Checkpoint::parse(&format!("{text}an extension\n")).unwrap();
        assert_eq!(extended, checkpoint);
    }

    #[test]
    fn other_spellings_are_refused() {
        let check = |text: &str, slug: &str| {
            assert_eq!(Checkpoint::parse(text).unwrap_err().slug(), slug, "{text:?}");
        };
        check("", "checkpoint_lines");
        check(&format!("a.b/log\n1\n{ROOT}"), "checkpoint_lines");
        check(&format!("a.b/log\n1\n{ROOT}\n\nextension\n"), "checkpoint_lines");
        check("a.b/log\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=\n", "checkpoint_lines");
        check(&format!("a.b/log\n01\n{ROOT}\n"), "checkpoint_size");
        check(&format!("a.b/log\n+1\n{ROOT}\n"), "checkpoint_size");
        check(&format!("a.b/log\n9223372036854775808\n{ROOT}\n"), "checkpoint_size");
        check(&format!("a.b/log\n18446744073709551616\n{ROOT}\n"), "checkpoint_size");
        check(&format!("a.b/log\n0\n{}\n", Hash::ZERO.to_base64()), "checkpoint_empty_root");
    }
}
