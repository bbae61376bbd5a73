//! One Rust file, cut into the lines that ship and the lines that test them.

use std::path::Path;

/// A file of ours. Paths are relative to the checkout, with `/`.
pub struct Source {
    pub path: String,
    pub lines: Vec<String>,
    /// For each line whether it ships: `#[cfg(test)]` modules do not, nor do test files.
    ships: Vec<bool>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let ships = match is_test_path(path) {
            true => vec![false; lines.len()],
            false => ships(&lines),
        };
        Self { path: path.to_owned(), lines, ships }
    }

    /// The lines that ship with their numbers from 1.
    pub fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.lines.iter().zip(&self.ships).enumerate();
        lines.filter(|(_, (_, ships))| **ships).map(|(at, (line, _))| (at + 1, line.as_str()))
    }

    /// The shipped lines of code, without comments.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = self.shipped().filter(|(_, line)| !line.trim_start().starts_with("//"));
        code.map(|(number, line)| (number, line.split_once(" // ").map_or(line, |(code, _)| code)))
    }

    /// Whether a `#[cfg(test)] mod name;` of this file says that `path` is a test.
    fn declares_test(&self, path: &str) -> bool {
        let Some(folder) = module_folder(&self.path) else { return false };
        let mut modules = test_modules(&self.lines).filter_map(|(_, module)| match module {
            Module::File(name) => Some(name),
            Module::Inline => None,
        });
        modules.any(|name| {
            let file = format!("{folder}/{name}");
            path.strip_prefix(&file).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    }
}

enum Module<'a> {
    /// `mod name;`: the lines that follow ship.
    File(&'a str),
    /// `mod name {`: everything up to the brace in its column is test.
    Inline,
}

/// Where the files of the modules lie that this file declares.
fn module_folder(path: &str) -> Option<&str> {
    let (folder, name) = path.rsplit_once('/')?;
    match name {
        "mod.rs" | "lib.rs" | "main.rs" => Some(folder),
        _ => path.strip_suffix(".rs"),
    }
}

/// Each module below a `#[cfg(test)]`, with the index of its `mod` line.
fn test_modules(lines: &[String]) -> impl Iterator<Item = (usize, Module<'_>)> {
    let marks = lines.iter().enumerate().filter(|(_, line)| line.trim() == "#[cfg(test)]");
    marks.filter_map(|(mark, _)| {
        let below = lines[mark + 1..].iter().position(|line| !line.trim().starts_with("#["))?;
        let at = mark + 1 + below;
        let code = lines[at].split("//").next().unwrap_or_default().trim();
        let (before, name) = code.split_once("mod ")?;
        let is_module = before.is_empty() || before.starts_with("pub");
        match (is_module, name.strip_suffix(';'), name.ends_with('{')) {
            (true, Some(name), _) => Some((at, Module::File(name))),
            (true, None, true) => Some((at, Module::Inline)),
            _ => None,
        }
    })
}

fn ships(lines: &[String]) -> Vec<bool> {
    let mut ships = vec![true; lines.len()];
    for (at, module) in test_modules(lines) {
        let end = match module {
            Module::File(_) => at,
            Module::Inline => at + closing_brace(&lines[at..]),
        };
        // The attributes above ship nothing either.
        let start = lines[..at].iter().rposition(|line| line.trim() == "#[cfg(test)]");
        ships[start.unwrap_or(at)..=end].fill(false);
    }
    ships
}

/// rustfmt closes a block with a brace in the column where its first line began.
fn closing_brace(block: &[String]) -> usize {
    let indent = block[0].len() - block[0].trim_start().len();
    let close = format!("{}}}", " ".repeat(indent));
    block.iter().position(|line| *line == close).unwrap_or(block.len() - 1)
}

fn is_test_path(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Every Rust file of the checkout, in path order; what is built or hidden is left out.
pub fn load(root: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    collect(root, root, &mut sources)?;
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    mark_test_files(&mut sources);
    Ok(sources)
}

/// A file that another declares below `#[cfg(test)]` is a test whatever its name.
fn mark_test_files(sources: &mut [Source]) {
    let is_test = |path: &str| sources.iter().any(|source| source.declares_test(path));
    let tests: Vec<bool> = sources.iter().map(|source| is_test(&source.path)).collect();
    for (source, is_test) in sources.iter_mut().zip(tests) {
        if is_test {
            source.ships.fill(false);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_modules_do_not_ship() {
        let check = |text: &str, expect: &[usize]| {
            let source = Source::new("a/src/b.rs", text);
            let numbers: Vec<usize> = source.shipped().map(|(number, _)| number).collect();
            assert_eq!(numbers, expect, "{text}");
        };
        check("a\nb\n", &[1, 2]);
        check("a\n#[cfg(test)]\nmod tests;\nb\n", &[1, 4]);
        check("a\n#[cfg(test)]\npub(crate) mod fixture; // why\nb\n", &[1, 4]);
        check("a\n#[cfg(test)]\nmod tests {\n    b\n}\n", &[1]);
        check("a\n#[cfg(test)]\nmod tests {\n    if b {\n    }\n}\nc\n", &[1, 7]);
        check("a\n#[cfg(test)]\n#[expect(x)]\npub(crate) mod tests {\n    b\n}\n", &[1]);
        check("#[cfg(test)]\nfn helper() {}\nb\n", &[1, 2, 3]);
    }

    #[test]
    fn a_file_declared_for_tests_is_a_test() {
        let mut sources = [
            Source::new("a/src/state/mod.rs", "#[cfg(test)]\nmod fixture;\nmod fixtures;\n"),
            Source::new("a/src/state/fixture.rs", "x\n"),
            Source::new("a/src/state/fixture/more.rs", "x\n"),
            Source::new("a/src/state/fixtures.rs", "x\n"),
            Source::new("a/src/fixture.rs", "x\n"),
        ];
        mark_test_files(&mut sources);
        let ships: Vec<usize> = sources.iter().map(|source| source.shipped().count()).collect();
        assert_eq!(ships, [1, 0, 0, 1, 1]);
    }
}
