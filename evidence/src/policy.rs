//! C2SP tlog-policy: which logs a reader trusts, and whose cosignatures make a quorum.
//!
//! ```text
//! log <vkey> [url]
//! witness <name> <vkey> [url]
//! group <name> all|any|<k> <member>...
//! quorum <name>|none
//! ```

mod parse;

use std::collections::BTreeMap;

use crate::checkpoint::SignedCheckpoint;
use crate::cosignature::Cosignature;
use crate::key::PublicKey;
use crate::limits::{POLICY_BYTES_MAX, POLICY_LINES_COUNT_MAX};
use crate::name::Origin;
use crate::note::{NoteFault, SignatureType, VerifierKey};

/// Why a text is not a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyTextFault {
    #[error("expected at most {POLICY_BYTES_MAX} bytes in {POLICY_LINES_COUNT_MAX} lines")]
    TooLarge,
    #[error("expected lines ending in a newline, without other control characters than the tab")]
    NotLines,
    #[error("line {line}: expected log, witness, group or quorum with its words, got {got:?}")]
    Line { line: usize, got: String },
    #[error("line {line}: {fault}")]
    Key { line: usize, fault: NoteFault },
    #[error("line {line}: expected a {expected} key, got one of another type")]
    KeyType { line: usize, expected: &'static str },
    #[error("line {line}: expected each key and name once, got {got:?} again")]
    Duplicate { line: usize, got: String },
    #[error("line {line}: expected a name defined above and not yet in a group, got {got:?}")]
    Member { line: usize, got: String },
    #[error("line {line}: expected all, any or 1 to {members}, got {got:?}")]
    Threshold { line: usize, members: usize, got: String },
    #[error("expected exactly one quorum line, got {got}")]
    Quorum { got: usize },
}

impl PolicyTextFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::TooLarge => "policy_too_large",
            Self::NotLines => "policy_not_lines",
            Self::Line { .. } => "policy_line",
            Self::Key { .. } => "policy_key",
            Self::KeyType { .. } => "policy_key_type",
            Self::Duplicate { .. } => "policy_duplicate",
            Self::Member { .. } => "policy_member",
            Self::Threshold { .. } => "policy_threshold",
            Self::Quorum { .. } => "policy_quorum",
        }
    }
}

/// Why a checkpoint is not to be believed under a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    #[error("expected a checkpoint of {expected}, got one of {got}")]
    UnknownLog { expected: String, got: Origin },
    #[error("expected the signature of {log}, got none")]
    NotSigned { log: Origin },
    #[error("{0}")]
    BadSignature(NoteFault),
    #[error("expected a quorum ({expected}), got the cosignatures of {got}")]
    NoQuorum { expected: String, got: String },
}

impl PolicyFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::UnknownLog { .. } => "unknown_log",
            Self::NotSigned { .. } => "log_signature_missing",
            Self::BadSignature(_) => "signature_invalid",
            Self::NoQuorum { .. } => "no_quorum",
        }
    }
}

/// A policy as it was read or made. Everything in it has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    /// `None`: no cosignature is asked for.
    quorum: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Log {
    key: VerifierKey,
    url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Witness {
    name: String,
    key: VerifierKey,
    url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: String,
    threshold: usize,
    members: Vec<String>,
}

/// What a policy found in a checkpoint that it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVerdict {
    /// The key, among those trusted for this origin, that signed.
    pub log_key: PublicKey,
    /// Known cosigners whose signature holds, in the policy's order.
    pub cosigners: Vec<Cosigner>,
}

/// One cosigner of a checkpoint and when it says to have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigner {
    pub name: String,
    pub timestamp_s: u64,
}

impl Policy {
    /// One log and a majority of its own nodes: the policy that a log's first leaf implies.
    pub fn for_nodes(
        origin: &Origin,
        log_key: &PublicKey,
        nodes: &[(String, PublicKey)],
    ) -> Result<Policy, PolicyTextFault> {
        Policy::parse(&nodes_text(origin, log_key, nodes).map_err(key_fault(0))?)
    }

    pub fn parse(text: &str) -> Result<Policy, PolicyTextFault> {
        parse::policy(text)
    }

    /// The canonical text: single spaces, no comments, numbers for thresholds.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for log in &self.logs {
            push_line(&mut text, &["log", &log.key.to_text()], log.url.as_ref());
        }
        for witness in &self.witnesses {
            let words = ["witness", &witness.name, &witness.key.to_text()];
            push_line(&mut text, &words, witness.url.as_ref());
        }
        for group in &self.groups {
            let (threshold, members) = (group.threshold.to_string(), group.members.join(" "));
            push_line(&mut text, &["group", &group.name, &threshold, &members], None);
        }
        push_line(&mut text, &["quorum", self.quorum.as_deref().unwrap_or("none")], None);
        text
    }

    /// The origins of the logs trusted here.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.logs.iter().map(|log| log.key.name())
    }

    /// Keys trusted to sign for this origin.
    pub fn log_keys(&self, origin: &Origin) -> impl Iterator<Item = &VerifierKey> {
        self.logs.iter().map(|log| &log.key).filter(|key| key.name() == origin.as_str())
    }

    /// Every key named here, of logs and of witnesses.
    pub fn verifier_keys(&self) -> impl Iterator<Item = &VerifierKey> {
        let logs = self.logs.iter().map(|log| &log.key);
        logs.chain(self.witnesses.iter().map(|witness| &witness.key))
    }

    /// The witnesses' names and keys, in the policy's order.
    pub(crate) fn witness_keys(&self) -> Vec<(String, PublicKey)> {
        let named = |witness: &Witness| (witness.name.clone(), *witness.key.key());
        self.witnesses.iter().map(named).collect()
    }

    /// Signed by a trusted log and cosigned by a quorum. Signatures of unknown keys are ignored;
    /// a wrong signature of a known one refuses the whole checkpoint.
    pub fn check(&self, signed: &SignedCheckpoint) -> Result<PolicyVerdict, PolicyFault> {
        let log_key = self.check_log(signed)?;
        let cosigners = self.check_cosigners(signed)?;
        let is_quorum = match &self.quorum {
            None => true,
            Some(name) => self.is_witnessed(name, &cosigners),
        };
        if !is_quorum {
            return Err(PolicyFault::NoQuorum {
                expected: self.describe_quorum(),
                got: describe(cosigners.values()),
            });
        }
        let in_order = self.witnesses.iter().filter_map(|one| cosigners.get(&*one.name).cloned());
        Ok(PolicyVerdict { log_key, cosigners: in_order.collect() })
    }

    fn check_log(&self, signed: &SignedCheckpoint) -> Result<PublicKey, PolicyFault> {
        let origin = &signed.checkpoint.origin;
        let note = signed.note();
        let (mut is_known, mut signer) = (false, None);
        for key in self.log_keys(origin) {
            is_known = true;
            if note.verified_by(key).map_err(PolicyFault::BadSignature)?.is_some() {
                signer = signer.or(Some(*key.key()));
            }
        }
        if !is_known {
            let expected = self.origins().collect::<Vec<_>>().join(" or ");
            return Err(PolicyFault::UnknownLog { expected, got: origin.clone() });
        }
        signer.ok_or_else(|| PolicyFault::NotSigned { log: origin.clone() })
    }

    /// By the witness's name in this policy.
    fn check_cosigners(
        &self,
        signed: &SignedCheckpoint,
    ) -> Result<BTreeMap<&str, Cosigner>, PolicyFault> {
        let note = signed.note();
        let mut cosigners = BTreeMap::new();
        for witness in &self.witnesses {
            let line = note.verified_by(&witness.key).map_err(PolicyFault::BadSignature)?;
            if let Some(line) = line {
                let cosignature =
                    Cosignature::from_note_signature(line).map_err(PolicyFault::BadSignature)?;
                let (name, timestamp_s) = (cosignature.name, cosignature.timestamp_s);
                cosigners.insert(&*witness.name, Cosigner { name, timestamp_s });
            }
        }
        Ok(cosigners)
    }

    /// Groups only name what stands above them, so this ends.
    fn is_witnessed(&self, name: &str, cosigners: &BTreeMap<&str, Cosigner>) -> bool {
        match self.groups.iter().find(|group| group.name == name) {
            None => cosigners.contains_key(name),
            Some(group) => {
                let is_in = |member: &&String| self.is_witnessed(member, cosigners);
                group.members.iter().filter(is_in).count() >= group.threshold
            }
        }
    }

    fn describe_quorum(&self) -> String {
        let name = self.quorum.as_deref().unwrap_or("none");
        match self.groups.iter().find(|group| group.name == name) {
            None => name.to_owned(),
            Some(group) => format!("{} of {}", group.threshold, group.members.join(", ")),
        }
    }
}

fn describe<'a>(cosigners: impl Iterator<Item = &'a Cosigner>) -> String {
    let names: Vec<&str> = cosigners.map(|cosigner| cosigner.name.as_str()).collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

fn nodes_text(
    origin: &Origin,
    log_key: &PublicKey,
    nodes: &[(String, PublicKey)],
) -> Result<String, NoteFault> {
    let log = VerifierKey::new(origin.as_str(), SignatureType::Ed25519, *log_key)?;
    let mut text = String::new();
    push_line(&mut text, &["log", &log.to_text()], None);
    for (name, key) in nodes {
        let key = VerifierKey::new(name, SignatureType::CosignatureV1, *key)?;
        push_line(&mut text, &["witness", name, &key.to_text()], None);
    }
    let names: Vec<&str> = nodes.iter().map(|(name, _)| name.as_str()).collect();
    let majority = (nodes.len() / 2 + 1).to_string();
    push_line(&mut text, &["group", "nodes", &majority, &names.join(" ")], None);
    push_line(&mut text, &["quorum", "nodes"], None);
    Ok(text)
}

fn push_line(text: &mut String, words: &[&str], url: Option<&String>) {
    text.push_str(&words.join(" "));
    if let Some(url) = url {
        text.push(' ');
        text.push_str(url);
    }
    text.push('\n');
}

fn key_fault(line: usize) -> impl Fn(NoteFault) -> PolicyTextFault {
    move |fault| PolicyTextFault::Key { line, fault }
}
