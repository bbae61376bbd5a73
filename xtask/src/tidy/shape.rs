//! The shape of files: line and function length, first pages, crash sentences, dead files.

use super::source::Source;

const LINE_CHARS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
/// A file may be longer, a function too, if it says why: once, where the reader meets it.
const WHY_BIG: &str = "// why big:";
const WHY_LONG: &str = "// why long:";

/// What makes bytes or names durable, and the sentence that must stand in the same file.
const DURABLE: &[&str] = &[".sync_all()", ".sync_data()", "fs::rename("];
const CRASH: &str = "crash here";

pub fn check(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    faults.extend(long_lines(source));
    faults.extend(big_file(source));
    faults.extend(long_functions(source));
    faults.extend(first_page(source));
    faults.extend(crash_sentence(source));
    faults
}

fn long_lines(source: &Source) -> Vec<String> {
    let is_long = |line: &str| line.chars().count() > LINE_CHARS_MAX && !line.contains("://");
    let long = source.shipped().filter(|(_, line)| is_long(line));
    long.map(|(number, _)| format!("{}:{number}: over {LINE_CHARS_MAX} columns", source.path))
        .collect()
}

fn big_file(source: &Source) -> Option<String> {
    let excused = source.lines.iter().take(40).any(|line| line.contains(WHY_BIG));
    let lines = source.shipped().count();
    (lines > FILE_LINES_MAX && !excused)
        .then(|| format!("{}: {lines} lines; split it, or say `{WHY_BIG}`", source.path))
}

/// Functions by indentation: rustfmt closes a function with a brace in the column of its `fn`.
fn long_functions(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let lines: Vec<(usize, &str)> = source.shipped().collect();
    for (start, (number, line)) in lines.iter().enumerate() {
        let Some(indent) = function_indent(line) else {
            continue;
        };
        let close = format!("{}}}", " ".repeat(indent));
        let Some(length) = lines[start..].iter().position(|(_, line)| *line == close) else {
            continue;
        };
        let function = &lines[start..start + length];
        let excused = function.iter().any(|(_, line)| line.contains(WHY_LONG));
        if length > FUNCTION_LINES_MAX && !excused {
            faults.push(format!(
                "{}:{number}: a function of {length} lines; cut it, or say `{WHY_LONG}`",
                source.path
            ));
        }
    }
    faults
}

/// The column of a line that begins a function, whatever stands before its `fn`.
fn function_indent(line: &str) -> Option<usize> {
    let mut words = line.trim_start();
    let indent = line.len() - words.len();
    loop {
        let (word, rest) = words.split_once(' ')?;
        match word {
            "fn" => return Some(indent),
            "pub" | "const" | "async" | "unsafe" | "extern" => words = rest,
            _ if word.starts_with("pub(") && word.ends_with(')') => words = rest,
            // `pub(in crate::path) fn`: the restriction has a blank of its own.
            "pub(in" => words = rest.split_once(") ")?.1,
            _ => return None,
        }
    }
}

fn first_page(source: &Source) -> Option<String> {
    let crate_root = ["/src/lib.rs", "/src/main.rs"].iter().any(|end| source.path.ends_with(end));
    if !crate_root {
        return None;
    }
    let page: Vec<&String> =
        source.lines.iter().take_while(|line| line.starts_with("//!")).collect();
    let states_absence = page.iter().any(|line| line.contains("never") || line.contains("Never"));
    (page.len() < 3 || !states_absence).then(|| {
        format!("{}: the first page says what enters, what leaves, what is never here", source.path)
    })
}

fn crash_sentence(source: &Source) -> Option<String> {
    let durable = source.code().find(|(_, line)| DURABLE.iter().any(|word| line.contains(word)));
    let said = source.lines.iter().any(|line| line.to_lowercase().contains(CRASH));
    match durable {
        Some((number, _)) if !said => Some(format!(
            "{}:{number}: a durable write, and no sentence `A {CRASH} leaves …`",
            source.path
        )),
        _ => None,
    }
}

/// Files that no `mod` names: the compiler never sees them.
pub fn dead_files(sources: &[Source]) -> Vec<String> {
    let dead = sources.iter().filter(|source| {
        let is_module = source.path.contains("/src/") && !source.path.contains("/src/bin/");
        is_module && !is_crate_root(&source.path) && !named(sources, &source.path)
    });
    dead.map(|source| format!("{}: no `mod` names this file", source.path)).collect()
}

fn is_crate_root(path: &str) -> bool {
    path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs")
}

fn named(sources: &[Source], path: &str) -> bool {
    let path = path.strip_suffix("/mod.rs").or(path.strip_suffix(".rs")).unwrap_or(path);
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parents = [
        format!("{folder}/mod.rs"),
        format!("{folder}/lib.rs"),
        format!("{folder}/main.rs"),
        format!("{folder}.rs"),
    ];
    let declared = format!("mod {name};");
    sources
        .iter()
        .filter(|source| parents.contains(&source.path))
        .any(|source| source.lines.iter().any(|line| says_module(line, &declared)))
}

/// `pub(crate) mod name; // and why` names a module too.
fn says_module(line: &str, declared: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.trim_end().ends_with(declared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_out_of_bounds_are_named() {
        let check = |path: &str, text: &str, part: &str| {
            let faults = check(&Source::new(path, text)).join("\n");
            assert!(faults.contains(part), "{path}: expected {part:?}, got {faults:?}");
        };
        check("a/src/b.rs", &"x".repeat(101), "over 100 columns");
        check("a/src/b.rs", &"x\n".repeat(601), "601 lines");
        check("a/src/b.rs", &format!("fn a() {{\n{}}}\n", "    x;\n".repeat(71)), "72 lines");
        let long = format!(" a() {{\n{}}}\n", "    x;\n".repeat(71));
        for start in ["pub(super) fn", "pub const fn", "pub(crate) async fn", "pub(in a::b) fn"] {
            check("a/src/b.rs", &format!("{start}{long}"), "72 lines");
        }
        check("a/src/lib.rs", "//! A crate.\n", "first page");
        check("a/src/b.rs", "file.sync_all()?;", "durable write");
    }

    #[test]
    fn below_the_declaration_of_a_test_module_rules_hold() {
        let text = format!("#[cfg(test)]\nmod tests;\n\nfile.sync_all()?;\n{}", "x".repeat(101));
        let faults = check(&Source::new("a/src/b.rs", &text));
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn a_file_that_no_mod_names_is_dead() {
        let sources = [
            Source::new("a/src/lib.rs", "mod used;\n"),
            Source::new("a/src/used.rs", ""),
            Source::new("a/src/dead.rs", ""),
        ];
        assert_eq!(dead_files(&sources), ["a/src/dead.rs: no `mod` names this file"]);
    }
}
