//! One Rust file, cut into the lines that ship and the lines that test them.

use std::path::Path;

/// A file of ours. Paths are relative to the checkout, with `/`.
pub struct Source {
    pub path: String,
    pub lines: Vec<String>,
    /// How many of the lines ship: all above the first `#[cfg(test)]` module.
    pub shipped: usize,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let tests = lines
            .windows(2)
            .position(|pair| pair[0].trim_end() == "#[cfg(test)]" && pair[1].starts_with("mod "));
        let whole = if is_test_path(path) { 0 } else { lines.len() };
        let shipped = tests.unwrap_or(whole).min(whole);
        Self { path: path.to_owned(), lines, shipped }
    }

    /// The shipped lines of code with their numbers from 1; comment lines are left out.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let shipped = self.lines.iter().take(self.shipped).enumerate();
        shipped
            .map(|(index, line)| (index + 1, line.as_str()))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn is_test_path(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Every Rust file of the checkout, in path order; what is built or hidden is left out.
pub fn load(root: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    collect(root, root, &mut sources)?;
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) -> Result<(), String> {
    let shown = |why: std::io::Error| format!("{}: {why}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(shown)? {
        let path = entry.map_err(shown)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name == "target" || name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, sources)?;
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(&path).map_err(shown)?;
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
            sources.push(Source::new(&relative.replace('\\', "/"), &text));
        }
    }
    Ok(())
}
