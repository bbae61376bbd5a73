//! The starter spec: applied once, to a log that has none; then it is the user's.

use std::path::Path;

use super::Layout;
use crate::exit::{Exit, Failure};
use crate::files::SpecFile;
use crate::operator::{self, Access};

const STARTER: &str = include_str!("../../../deploy/specs/starter/starter.yaml");
/// What the starter's `files` check watches until the user points it elsewhere.
const WATCHED: &str = "Files in this folder are checked by their SHA-256. Change one and look.\n";

/// Applies the starter spec if this directory never had it, and says where it lies. The file is
/// the memory of it: what is in force now may be another spec, or may still be replaying.
pub async fn apply_once(layout: &Layout, access: &Access) -> Result<String, Failure> {
    let path = layout.data.join("specs").join("starter.yaml");
    let name = path.display().to_string();
    if path.exists() {
        return Ok(name);
    }
    let text = filled(layout);
    write_new(&layout.data.join("files").join("README.txt"), WATCHED)?;
    let file = SpecFile { name: name.clone(), text: text.clone() };
    operator::apply_files(access, vec![file], false).await?;
    // A crash here applies the same text once more at the next start: the same spec in force.
    write_new(&path, &text)?;
    Ok(name)
}

/// Paths stand in double quotes in the template: any folder's name is a name, never YAML.
fn filled(layout: &Layout) -> String {
    let first = &layout.replicas[0];
    let ca_file = first.identity_dir().join("ca.pem").display().to_string();
    let values = [
        ("${HTTP_ADDRESS}", first.listen.http.to_string()),
        ("${GRPC_ADDRESS}", first.listen.grpc.to_string()),
        ("${CA_FILE}", escaped(&ca_file)),
        ("${DATA_DIR}", escaped(&layout.data.display().to_string())),
    ];
    values.iter().fold(STARTER.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// For the inside of a double-quoted YAML scalar.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let fault =
        |why: std::io::Error| Failure::new(Exit::Storage, format!("{}: {why}", path.display()));
    let folder = path.parent().expect("a file below the data directory");
    std::fs::create_dir_all(folder).map_err(fault)?;
    if path.exists() {
        return Ok(());
    }
    std::fs::write(path, text).map_err(fault)
}

#[cfg(test)]
mod tests {
    use proofmark_spec::Probe;

    use super::*;

    #[test]
    fn a_folders_name_is_never_yaml() {
        for name in ["plain", "a #1", "a: b", "q\"uote", "back\\slash", "new\nline", "ünï"] {
            let text = STARTER
                .replace("${DATA_DIR}", &escaped(name))
                .replace("${CA_FILE}", &escaped(name))
                .replace("${HTTP_ADDRESS}", "127.0.0.1:1")
                .replace("${GRPC_ADDRESS}", "127.0.0.1:1");
            let source = proofmark_spec::Source { file: "starter.yaml", text: &text };
            let documents = proofmark_spec::parse(&[source]).unwrap_or_else(|faults| {
                panic!("{name:?}: {faults}");
            });
            let watched = documents.checks.iter().find_map(|check| match &check.probe {
                Probe::Files(files) => Some(files.path.as_str()),
                _ => None,
            });
            assert_eq!(watched, Some(format!("{name}/files").as_str()));
        }
    }
}
