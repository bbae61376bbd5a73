//! Digests by path: of a tree, of a manifest, of a baseline; and what differs between two.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use proofmark_evidence::{Hash, UnknownReason, sha256};
use proofmark_spec::FilesProbe;

use super::super::trace::{Finding, unknown};

/// Sorted by path; paths are relative with `/` between their parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Digests(pub(super) BTreeMap<String, Hash>);

/// Paths that differ, each list sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) changed: Vec<String>,
    pub(super) missing: Vec<String>,
    pub(super) unexpected: Vec<String>,
}

impl Difference {
    pub(super) fn count(&self) -> usize {
        self.changed.len() + self.missing.len() + self.unexpected.len()
    }
}

impl Digests {
    pub(super) fn of(digests: &BTreeMap<String, [u8; 32]>) -> Digests {
        Digests(digests.iter().map(|(path, digest)| (path.clone(), Hash(*digest))).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Only what the probe looks at: the rest of a manifest is about other files.
    pub(super) fn covered_by(&self, probe: &FilesProbe) -> Digests {
        let covered = self.0.iter().filter(|(path, _)| probe.covers(path));
        Digests(covered.map(|(path, digest)| (path.clone(), *digest)).collect())
    }

    /// Treats `self` as what should be and `found` as what is.
    pub(super) fn compare(&self, found: &Digests) -> Difference {
        let mut difference = Difference::default();
        for (path, expected) in &self.0 {
            match found.0.get(path) {
                None => difference.missing.push(path.clone()),
                Some(got) if got != expected => difference.changed.push(path.clone()),
                Some(_) => {}
            }
        }
        let unexpected = found.0.keys().filter(|path| !self.0.contains_key(*path));
        difference.unexpected.extend(unexpected.cloned());
        difference
    }

    /// A file as `sha256sum` writes it: `<64 hex digits>  <path>` or, in binary mode, ` *<path>`.
    pub(super) fn read_manifest(path: &Path) -> Result<Digests, Finding> {
        let fault = |what: String| {
            unknown(UnknownReason::AgentFault, format!("manifest {}: {what}", path.display()))
        };
        let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
        Digests::parse_lines(text.lines()).map_err(fault)
    }

    /// The baseline of the same scope, if one was kept.
    pub(super) fn read_baseline(path: &Path, scope: &str) -> Result<Option<Digests>, Finding> {
        let fault = |what: String| {
            unknown(UnknownReason::AgentFault, format!("baseline {}: {what}", path.display()))
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault(error.to_string())),
        };
        let (head, lines) = text.split_once('\n').unwrap_or((&text, ""));
        let Some((scope_hash, tree_hash)) = head.trim_start_matches("# ").split_once(' ') else {
            return Err(fault("damaged first line".to_string()));
        };
        if scope_hash != sha256(scope.as_bytes()).to_string() {
            return Ok(None);
        }
        let digests = Digests::parse_lines(lines.lines()).map_err(fault)?;
        match digests.tree_hash().to_string() == tree_hash {
            true => Ok(Some(digests)),
            false => Err(fault("its digest is not the one in its first line".to_string())),
        }
    }

    /// `# <scope's hash> <tree's hash>`, then the lines of a manifest.
    pub(super) fn to_baseline(&self, scope: &str) -> String {
        let scope_hash = sha256(scope.as_bytes());
        format!("# {scope_hash} {}\n{}", self.tree_hash(), self.to_lines())
    }

    /// One hash for the whole tree.
    fn tree_hash(&self) -> Hash {
        sha256(self.to_lines().as_bytes())
    }

    /// `sha256sum` escapes a name with a line feed or backslash and marks the line with one.
    fn to_lines(&self) -> String {
        let line = |(path, digest): (&String, &Hash)| match escape(path) {
            escaped if escaped == *path => format!("{digest}  {path}\n"),
            escaped => format!("\\{digest}  {escaped}\n"),
        };
        self.0.iter().map(line).collect()
    }

    fn parse_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Digests, String> {
        let mut digests = BTreeMap::new();
        for (index, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
            let bad = || format!("line {}: expected `<sha256>  <path>`", index + 1);
            let (line, is_escaped) =
                line.strip_prefix('\\').map_or((line, false), |line| (line, true));
            let (digest, path) = line.split_once(' ').ok_or_else(bad)?;
            let path = path.strip_prefix([' ', '*']).ok_or_else(bad)?;
            let path = if is_escaped { unescape(path) } else { path.to_string() };
            let path = path.strip_prefix("./").unwrap_or(&path).to_string();
            let digest = Hash::from_hex(digest).map_err(|_| bad())?;
            if digests.insert(path, digest).is_some() {
                return Err(format!("line {}: a path for the second time", index + 1));
            }
        }
        Ok(Digests(digests))
    }
}

fn escape(path: &str) -> String {
    path.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescape(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => plain.push('\n'),
                Some('r') => plain.push('\r'),
                Some(other) => plain.push(other),
                None => plain.push('\\'),
            },
            (c, false) => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_say_everything(
            paths in prop::collection::btree_set("[a-z\\\\\n\r *]{1,8}", 0..6),
        ) {
            let digests: BTreeMap<String, Hash> =
                paths.into_iter().map(|path| (path.clone(), sha256(path.as_bytes()))).collect();
            let digests = Digests(digests);
            let lines = digests.to_lines();
            prop_assert_eq!(Digests::parse_lines(lines.split('\n')), Ok(digests));
        }
    }

    #[test]
    fn a_manifest_of_sha256sum_is_read() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let text = format!("{empty}  ./a\n{empty} *b/c\n\n\\{empty}  d\\ne\n");
        let digests = Digests::parse_lines(text.lines()).expect("well formed");
        let paths: Vec<_> = digests.0.keys().map(String::as_str).collect();
        assert_eq!(paths, ["a", "b/c", "d\ne"]);
        for bad in [empty.to_string(), format!("{empty} a"), "abc  a".to_string()] {
            assert!(Digests::parse_lines(bad.lines()).is_err(), "{bad}");
        }
        let twice = format!("{empty}  a\n{empty}  a\n");
        assert!(Digests::parse_lines(twice.lines()).is_err());
    }
}
