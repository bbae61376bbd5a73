//! `files`: the SHA-256 of every file of a tree, against what it should be.

use std::collections::BTreeMap;

use crate::fault::{Slug, shown};
use crate::glob::Glob;
use crate::limits::{FILES_COUNT_DEFAULT, FILES_COUNT_MAX};
use crate::reader::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesProbe {
    /// A directory (or one file) on the agent's host.
    pub path: String,
    /// Empty: every file. Patterns are relative to `path`, as all paths below.
    pub include: Vec<Glob>,
    /// Wins over `include`.
    pub exclude: Vec<Glob>,
    pub expectation: FilesExpectation,
    pub follow_symlinks: bool,
    /// The check is unknown, not half done, when there are more.
    pub files_count_max: u64,
}

/// What the files should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesExpectation {
    /// What the first run found; later change fails.
    Baseline,
    /// A file on the agent's host in the format of `sha256sum`.
    Manifest(String),
    /// Digest by relative path.
    Digests(BTreeMap<String, [u8; 32]>),
}

impl FilesProbe {
    /// Whether a file is covered, by its path relative to `path`.
    pub fn covers(&self, relative_path: &str) -> bool {
        let any = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(relative_path));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }

    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        let mut fields = value.fields()?;
        let globs = |value: &Value<'_>| value.list_of(Value::glob);
        let path = fields.need("path", Value::path);
        let include = fields.or("include", Vec::new(), globs);
        let exclude = fields.or("exclude", Vec::new(), globs);
        let manifest = fields.maybe("manifest", Value::path);
        let expect = fields.maybe("expect", read_digests);
        let follow_symlinks = fields.or("follow_symlinks", false, Value::boolean);
        let files_count_max = fields
            .or("files_count_max", FILES_COUNT_DEFAULT, |value| value.integer(1, FILES_COUNT_MAX));
        let both = fields.has("manifest") && fields.has("expect");
        if both {
            let expected = "at most one of manifest, expect";
            fields.fault::<()>(Slug::Conflict, expected, "manifest and expect");
        }
        fields.finish();
        let expectation = match (manifest?, expect?) {
            (Some(_), Some(_)) => return None,
            (Some(manifest), None) => FilesExpectation::Manifest(manifest),
            (None, Some(digests)) => FilesExpectation::Digests(digests),
            (None, None) => FilesExpectation::Baseline,
        };
        Some(Self {
            path: path?,
            include: include?,
            exclude: exclude?,
            expectation,
            follow_symlinks: follow_symlinks?,
            files_count_max: files_count_max?,
        })
    }
}

fn read_digests(value: &Value<'_>) -> Option<BTreeMap<String, [u8; 32]>> {
    let mut digests = BTreeMap::new();
    let mut all_good = Some(());
    for (key, digest) in value.entries()? {
        let path_is_good = Glob::parse(&key.text).is_some() && !key.text.contains('*');
        if !path_is_good {
            all_good = digest.fault(Slug::BadGlob, "a relative path", shown(&key.text));
        }
        match digest.digest() {
            Some(digest) => _ = digests.insert(key.text.clone(), digest),
            None => all_good = None,
        }
    }
    if digests.is_empty() && all_good.is_some() {
        return value.fault(Slug::OutOfRange, "at least one file", "an empty mapping");
    }
    all_good.map(|()| digests)
}
