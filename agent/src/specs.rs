//! The spec set in force, kept in the data directory so that a start without an aggregator goes on
//! measuring what was asked for.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofmark_evidence::{AgentName, CheckName, sha256};
use proofmark_spec::{Faults, Source};

use crate::fsck::{Finding, Next};
use crate::schedule::Planned;
use crate::spool::{SpoolFault, replace_file};

/// The first word of the file; the digit is the format's version.
const MAGIC: &str = "proofmark-specs/1";

/// All documents of one revision, as an aggregator sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecSet {
    pub revision: u64,
    /// From this unix time on; every agent switches at the same instant.
    pub effective_at_ms: u64,
    pub text: String,
}

impl SpecSet {
    /// The set that was kept, if any. A damaged file is told and ignored: the aggregator has it.
    pub fn load(data_dir: &Path) -> Option<SpecSet> {
        let path = path_in(data_dir);
        let read = std::fs::read_to_string(&path);
        match read {
            Ok(text) => SpecSet::from_file_text(&text).or_else(|| {
                tracing::error!(path = %path.display(), "kept specs are damaged and not used");
                None
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "kept specs cannot be read");
                None
            }
        }
    }

    pub fn save(&self, data_dir: &Path) -> Result<(), SpoolFault> {
        replace_file(&path_in(data_dir), self.to_file_text().as_bytes())
    }

    /// The checks this agent is to run, in order of name.
    pub fn planned(&self, agent: &AgentName) -> Result<Vec<Arc<Planned>>, Faults> {
        let file = format!("specs revision {}", self.revision);
        let documents = proofmark_spec::parse(&[Source { file: &file, text: &self.text }])?;
        let planned = documents.checks_for(agent.as_str()).map(|check| {
            let name = CheckName::parse(&check.name).expect("spec names are labels as well");
            Arc::new(Planned { name, revision: self.revision, check: check.clone() })
        });
        Ok(planned.collect())
    }

    /// The file's bytes: a line with its checksum, then the documents.
    pub fn to_file_text(&self) -> String {
        let SpecSet { revision, effective_at_ms, text } = self;
        let digest = sha256(text.as_bytes());
        format!("{MAGIC} {revision} {effective_at_ms} {digest}\n{text}")
    }

    /// None: damaged, or not ours.
    pub fn from_file_text(file_text: &str) -> Option<SpecSet> {
        let (head, text) = file_text.split_once('\n')?;
        let mut words = head.split(' ');
        let is_ours = words.next()? == MAGIC;
        let (revision, effective_at_ms) =
            (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let is_whole = words.next()? == sha256(text.as_bytes()).to_string();
        let text = text.to_string();
        (is_ours && is_whole).then_some(SpecSet { revision, effective_at_ms, text })
    }
}

/// A kept set that a start would not use.
pub fn inspect(data_dir: &Path) -> Option<Finding> {
    let message = match std::fs::read_to_string(path_in(data_dir)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Ok(text) => match SpecSet::from_file_text(&text) {
            Some(_) => return None,
            None => "expected kept specs and their digest, got other bytes".to_owned(),
        },
        Err(error) => error.to_string(),
    };
    let slug = "specs_damaged".to_owned();
    Some(Finding { file: "specs".to_owned(), offset: None, slug, message, next: Next::Mends })
}

fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("specs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::document;

    fn specs() -> SpecSet {
        let probe = "tcp: {address: '127.0.0.1:1'}";
        let mine = document("mine", "10s", None, probe);
        let theirs =
            document("theirs", "10s", None, probe).replace("spec:\n", "spec:\n  agents: [db-1]\n");
        SpecSet { revision: 7, effective_at_ms: 5_000, text: format!("{mine}---\n{theirs}") }
    }

    #[test]
    fn what_was_saved_is_loaded_unless_it_is_damaged() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(SpecSet::load(dir.path()), None);
        specs().save(dir.path()).expect("saved");
        assert_eq!(SpecSet::load(dir.path()), Some(specs()));
        let path = path_in(dir.path());
        let text = std::fs::read_to_string(&path).expect("text");
        std::fs::write(&path, text.replace("10s", "90s")).expect("written");
        assert_eq!(SpecSet::load(dir.path()), None);
    }

    #[test]
    fn an_agent_runs_the_checks_that_select_it() {
        let names = |agent: &str| -> Vec<String> {
            let agent = AgentName::parse(agent).expect("a label");
            let planned = specs().planned(&agent).expect("valid");
            planned.iter().map(|one| format!("{} {}", one.name, one.revision)).collect()
        };
        assert_eq!(names("web-1"), ["mine 7"]);
        assert_eq!(names("db-1"), ["mine 7", "theirs 7"]);
    }
}
