//! A proof file's text, and the bytes of its `extra` line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ProofFileFault;
use crate::bytes::{ByteReader, ByteWriter, DecodeFault};
use crate::checkpoint::{SignedCheckpoint, parse_decimal};
use crate::hash::Hash;
use crate::limits::{LEAF_BYTES_MAX, PATH_COUNT_MAX, PROOF_BYTES_MAX, RESULT_BYTES_MAX};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
const EXTRA_VERSION: u8 = 1;

/// A proof taken apart. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    pub(super) extra: Extra,
    pub(super) index: u64,
    pub(super) path: Vec<Hash>,
    pub(super) checkpoint: SignedCheckpoint,
}

/// What beside the log's own path leads from a result to an agent's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extra {
    pub(super) result: Vec<u8>,
    pub(super) position: u64,
    pub(super) result_path: Vec<Hash>,
    pub(super) leaf: Vec<u8>,
    pub(super) enrol_index: u64,
    pub(super) enrol: Vec<u8>,
    pub(super) enrol_path: Vec<Hash>,
}

impl ProofFile {
    /// The file's content; its name ends in `.tlog-proof`.
    pub fn to_text(&self) -> String {
        let extra = STANDARD.encode(self.extra.encode());
        let mut text = format!("{FIRST_LINE}\nextra {extra}\nindex {}\n", self.index);
        for hash in &self.path {
            text.push_str(&hash.to_base64());
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint.to_text());
        text
    }

    /// Refuses every spelling but the one `to_text` writes.
    pub fn parse(text: &str) -> Result<ProofFile, ProofFileFault> {
        if text.len() > PROOF_BYTES_MAX {
            return Err(expected("at most 256 KiB", format!("{} bytes", text.len())));
        }
        let mut lines = text.split('\n').take_while(|line| !line.is_empty());
        if lines.next() != Some(FIRST_LINE) {
            return Err(expected("c2sp.org/tlog-proof@v1 in the first line", first_line(text)));
        }
        let (_, note) =
            text.split_once("\n\n").ok_or_else(|| expected("an empty line", "none".to_owned()))?;
        let extra = labelled("extra and base64", "extra ", lines.next())?;
        let index = labelled("index and a decimal number", "index ", lines.next())?;
        let path = lines.map(|line| {
            Hash::from_base64(line).map_err(|_| expected("one base64 hash per line", quoted(line)))
        });
        let path = path.collect::<Result<Vec<Hash>, _>>()?;
        let decoded =
            STANDARD.decode(extra).map_err(|_| expected("extra and base64", quoted(extra)))?;
        let proof = ProofFile {
            extra: Extra::decode(&decoded).map_err(ProofFileFault::Extra)?,
            index: parse_decimal(index)
                .map_err(|_| expected("index and a decimal number", quoted(index)))?,
            path,
            checkpoint: SignedCheckpoint::parse(note)?,
        };
        if proof.to_text() != text {
            let got = "another spelling of the same".to_owned();
            return Err(expected("the one spelling of each part", got));
        }
        Ok(proof)
    }
}

impl Extra {
    fn encode(&self) -> Vec<u8> {
        let mut writer = ByteWriter::new();
        writer.u8(EXTRA_VERSION).bytes(&self.result).varint(self.position);
        write_path(&mut writer, &self.result_path);
        writer.bytes(&self.leaf).varint(self.enrol_index).bytes(&self.enrol);
        write_path(&mut writer, &self.enrol_path);
        writer.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Extra, DecodeFault> {
        let mut reader = ByteReader::new(bytes);
        let what = "version";
        match reader.u8(what)? {
            EXTRA_VERSION => {}
            got => return Err(DecodeFault::UnknownCode { what, got: got.into() }),
        }
        let extra = Extra {
            result: reader.bytes("result", RESULT_BYTES_MAX)?.to_vec(),
            position: reader.u32("position")?.into(),
            result_path: read_path(&mut reader, "result path")?,
            leaf: reader.bytes("leaf", LEAF_BYTES_MAX)?.to_vec(),
            enrol_index: reader.varint("enrolment index")?,
            enrol: reader.bytes("enrolment", LEAF_BYTES_MAX)?.to_vec(),
            enrol_path: read_path(&mut reader, "enrolment path")?,
        };
        reader.finish("extra")?;
        Ok(extra)
    }
}

fn write_path(writer: &mut ByteWriter, path: &[Hash]) {
    writer.varint(path.len() as u64);
    path.iter().for_each(|hash| {
        writer.fixed(&hash.0);
    });
}

fn read_path(reader: &mut ByteReader<'_>, what: &'static str) -> Result<Vec<Hash>, DecodeFault> {
    let count = reader.count(what, PATH_COUNT_MAX, 32)?;
    (0..count).map(|_| reader.fixed(what).map(Hash)).collect()
}

fn labelled<'a>(
    what: &'static str,
    label: &str,
    line: Option<&'a str>,
) -> Result<&'a str, ProofFileFault> {
    let line = line.ok_or_else(|| expected(what, "no such line".to_owned()))?;
    line.strip_prefix(label).ok_or_else(|| expected(what, quoted(line)))
}

fn expected(expected: &'static str, got: String) -> ProofFileFault {
    ProofFileFault::Text { expected, got }
}

fn first_line(text: &str) -> String {
    quoted(text.split('\n').next().unwrap_or_default())
}

/// Enough of a line to find it by; what it holds may not reach a terminal.
fn quoted(line: &str) -> String {
    format!("{:?}", line.chars().take(40).collect::<String>())
}
