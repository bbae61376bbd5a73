//! A test over the source: what a compiler does not hold and a reviewer forgets.
//!
//! Each rule reads the files and answers with faults; a fault names file, line, what was found and
//! where that belongs. Tests (modules below `#[cfg(test)]`, inline or in files of
//! their own, and what is under `tests/`) are held to fewer rules.

mod pages;
mod rooms;
mod shape;
mod source;

use crate::workspace::{Outcome, root};

pub fn run() -> Outcome {
    let sources = source::load(&root())?;
    let mut faults = Vec::new();
    for source in &sources {
        faults.extend(rooms::check(source));
        faults.extend(shape::check(source));
    }
    faults.extend(shape::dead_files(&sources));
    faults.extend(pages::check(&root()));
    if faults.is_empty() {
        println!("tidy: {} files, {} room rules", sources.len(), rooms::RULES.len());
        return Ok(());
    }
    Err(format!("{}\ntidy: {} faults", faults.join("\n"), faults.len()))
}

#[cfg(test)]
mod tests {
    /// `cargo test` runs the rules, so that they are never rules that nobody runs.
    #[test]
    fn the_workspace_is_tidy() {
        super::run().expect("cargo xtask tidy");
    }
}
