//! Spec files named on the command line: a file, or every `.yaml`/`.yml` below a directory.

use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};

/// One file's name as the user would write it, and its text.
#[derive(Clone, Debug)]
pub struct SpecFile {
    pub name: String,
    pub text: String,
}

/// Reads every file, directories in name order, so that the same arguments give the same bytes.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<SpecFile>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    if files.is_empty() {
        let named: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let message = format!("expected .yaml files, got none in {}", named.join(", "));
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(files)
}

fn collect(path: &Path, files: &mut Vec<SpecFile>) -> Result<(), Failure> {
    let fault =
        |why: std::io::Error| Failure::new(Exit::Usage, format!("{}: {why}", path.display()));
    if !path.is_dir() {
        files.push(read(path)?);
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(fault)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(fault)?;
    paths.sort();
    // A link to a folder is not followed: it may lead round in a circle.
    let paths = paths.iter().filter(|inner| !(inner.is_dir() && inner.is_symlink()));
    for inner in paths.filter(|inner| inner.is_dir() || is_yaml(inner)) {
        collect(inner, files)?;
    }
    Ok(())
}

/// One file of text, with its name kept for the faults.
pub fn read(path: &Path) -> Result<SpecFile, Failure> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(SpecFile { name, text }),
        Err(why) => {
            let message = format!("{name}: expected a file of UTF-8 text, got: {why}");
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "yaml" || end == "yml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_in_name_order_and_only_its_yaml() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("b.yaml", "b"), ("a.yml", "a"), ("notes.txt", "no")] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        std::fs::create_dir(dir.path().join("c")).unwrap();
        std::fs::write(dir.path().join("c/d.yaml"), "d").unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("c/round.yaml")).unwrap();
        let files = read_all(&[dir.path().to_owned()]).unwrap();
        let texts: Vec<&str> = files.iter().map(|file| file.text.as_str()).collect();
        assert_eq!(texts, ["a", "b", "d"]);
    }

    #[test]
    fn nothing_to_read_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let failure = read_all(&[dir.path().to_owned()]).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.starts_with("expected .yaml files, got none in "));
    }
}
