//! The pages beside the code: there, finished, and naming only files that exist; and the samples
//! that `deploy/` ships, which must fit each other.

use std::path::Path;

/// Pages that a newcomer or an operator is promised.
const PAGES: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "FORMATS.md",
    "THREATS.md",
    "OPERATING.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "deny.toml",
    "clippy.toml",
    "rustfmt.toml",
];

/// Words of an unfinished page.
const PLACEHOLDERS: &[&str] = &["TODO", "TOUR", "TBD", "FIXME", "XXX"];

/// Where a path of ours begins. What follows them in a page must exist in the checkout.
const OURS: &[&str] = &[
    "evidence/",
    "spec/",
    "slo/",
    "proto/",
    "agent/",
    "aggregator/",
    "cli/",
    "tests/",
    "xtask/",
    "deploy/",
    "fuzz/",
    "docs/",
    ".ci/",
];

/// What looks like a path and is none: the parts of a result's id.
const IDS: &[&str] = &["agent/epoch/seq", "agent/epoch/sequence"];

/// A unit, the configuration that its program is started with, and where that one keeps its data.
const UNITS: &[(&str, &str)] = &[
    ("deploy/systemd/proofmark-agent.service", "deploy/agent.yaml"),
    ("deploy/systemd/proofmark-aggregator.service", "deploy/aggregator.yaml"),
];

pub fn check(root: &Path) -> Vec<String> {
    let mut faults = missing_pages(root);
    for name in PAGES.iter().filter(|name| name.ends_with(".md")) {
        // A missing one is named already.
        let text = std::fs::read_to_string(root.join(name)).unwrap_or_default();
        faults.extend(unfinished(name, &text));
        faults.extend(dead_paths(name, &text, |path| root.join(path).exists()));
    }
    faults.extend(UNITS.iter().filter_map(|(unit, config)| {
        let read = |name| std::fs::read_to_string(root.join(name)).unwrap_or_default();
        unwritable(unit, &read(unit), config, &read(config))
    }));
    faults
}

fn missing_pages(root: &Path) -> Vec<String> {
    let missing = PAGES.iter().filter(|page| !root.join(page).exists());
    missing.map(|page| format!("{page}: missing; the project promises it")).collect()
}

fn unfinished(name: &str, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    let placeholder = |line: &str| {
        let words = line.split(|c: char| !c.is_alphanumeric());
        PLACEHOLDERS.iter().find(|placeholder| words.clone().any(|word| word == **placeholder))
    };
    let found = lines.filter_map(|(at, line)| Some((at + 1, placeholder(line)?)));
    found.map(|(number, word)| format!("{name}:{number}: `{word}` is a placeholder")).collect()
}

/// Paths in backticks or link brackets. `name.rs:12` and `folder/` are paths; `a b` and `a/<N>`,
/// the words of a format or a command, are not.
fn dead_paths(name: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with("    ")) {
        for word in line.split(['`', '(', ')', '"', '\'']) {
            let path = word.split(':').next().unwrap_or_default();
            let is_path = !path.contains([' ', '<', '*', '{', '$', '…']);
            let is_ours = OURS.iter().any(|start| path.starts_with(start) && path != *start);
            if is_path && is_ours && !IDS.contains(&path) && !exists(path) {
                faults.push(format!("{name}:{}: `{path}`: no such file", at + 1));
            }
        }
    }
    faults
}

/// `ProtectSystem=strict` leaves a program no place to write but `ReadWritePaths`.
fn unwritable(unit: &str, unit_text: &str, config: &str, config_text: &str) -> Option<String> {
    let value = |text: &str, key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(value.trim().to_owned())
    };
    let may_write = value(unit_text, "ReadWritePaths=").unwrap_or_default();
    let writes = value(config_text, "data_dir:").unwrap_or_default();
    let covers = |path: &str| Path::new(&writes).starts_with(path);
    (writes.is_empty() || !may_write.split(' ').any(|path| !path.is_empty() && covers(path)))
        .then(|| format!("{unit}: may write {may_write:?}, but {config} says {writes:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_named() {
        assert_eq!(unfinished("A.md", "a\nTODO: b\n"), ["A.md:2: `TODO` is a placeholder"]);
        assert_eq!(unfinished("A.md", "A tour; TODOS are no word of ours\n"), [""; 0]);
    }

    #[test]
    fn a_path_that_does_not_exist_is_named() {
        let check = |text: &str, expect: &[&str]| {
            let faults = dead_paths("A.md", text, |path| path == "slo/src/lib.rs");
            assert_eq!(faults, expect, "{text}");
        };
        check("see `slo/src/lib.rs` and `slo/src/lib.rs:12`", &[]);
        check("see `slo/src/gone.rs`", &["A.md:1: `slo/src/gone.rs`: no such file"]);
        check("[here](slo/src/gone.rs)", &["A.md:1: `slo/src/gone.rs`: no such file"]);
        check("`agent/epoch/seq`, `tile/<L>/<N>`, **`slo/`**", &[]);
        check("    slo/src/gone.rs in an example", &[]);
    }

    #[test]
    fn a_unit_that_cannot_write_its_data_is_named() {
        let check = |unit: &str, config: &str, fits: bool| {
            let fault = unwritable("u", unit, "c", config);
            assert_eq!(fault.is_none(), fits, "{unit} {config}: {fault:?}");
        };
        check("ReadWritePaths=/var/lib/p\n", "data_dir: /var/lib/p/agent\n", true);
        check("ReadWritePaths=/tmp /var/lib/p\n", "data_dir: /var/lib/p\n", true);
        check("ReadWritePaths=/var/lib/p\n", "data_dir: /var/lib/p-agent\n", false);
        check("", "data_dir: /var/lib/p\n", false);
        check("ReadWritePaths=/var/lib/p\n", "", false);
    }
}
