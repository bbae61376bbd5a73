//! Tables, judged on a copy: opening a sled database writes to it.

use std::fs;
use std::path::Path;

use super::{LoadedRows, Tables, TablesFault, load};

impl Tables {
    /// What a start would load from `dir`, which stays as it is.
    ///
    /// # Errors
    /// A start would set them aside, for this reason; or they cannot be copied.
    pub fn inspect(dir: &Path) -> Result<Option<LoadedRows>, TablesFault> {
        let copy = tempfile::tempdir().map_err(|fault| TablesFault::disk(dir, fault))?;
        copy_tree(dir, copy.path())?;
        let (tables, rows) = load::load_on_helper_thread(copy.path())?;
        drop(tables);
        Ok(rows)
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), TablesFault> {
    let fault = |fault| TablesFault::disk(from, fault);
    for entry in fs::read_dir(from).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let target = to.join(entry.file_name());
        match entry.file_type().map_err(fault)?.is_dir() {
            true => {
                fs::create_dir(&target).map_err(fault)?;
                copy_tree(&entry.path(), &target)?;
            }
            false => drop(fs::copy(entry.path(), &target).map_err(fault)?),
        }
    }
    Ok(())
}
