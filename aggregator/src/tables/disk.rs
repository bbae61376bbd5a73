//! The directory of the tables: made durable at creation, moved aside when damaged.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::TablesFault;
use crate::limits::TABLES_DAMAGED_KEPT_MAX;

const DAMAGED_SUFFIX: &str = ".damaged-";

/// Makes a new directory and all it holds durable. sled syncs some of its files at creation and
/// not others: databases some seconds old did not open after a power cut.
pub(super) fn sync_tree(dir: &Path) -> Result<(), TablesFault> {
    for entry in read_dir(dir)? {
        match entry.is_dir() {
            true => sync_tree(&entry)?,
            false => sync(&entry)?,
        }
    }
    sync(dir)?;
    sync(parent_of(dir))
}

/// Renames damaged tables to `<dir>.damaged-N`, N one above the highest there is, and keeps only
/// the newest few of them.
pub(super) fn move_aside(dir: &Path, why: &TablesFault) -> Result<(), TablesFault> {
    let mut aside = damaged_beside(dir)?;
    let number = aside.last().map_or(1, |(number, _)| number + 1);
    let target = damaged_name(dir, number);
    fs::rename(dir, &target).map_err(|fault| TablesFault::disk(dir, fault))?;
    // A crash here leaves no tables, durably or not: start-up creates them, or comes here again.
    sync(parent_of(dir))?;
    tracing::error!(
        slug = why.slug(), fault = %why, moved_to = %target.display(),
        "tables cannot be used; they are rebuilt from the Raft log and the evidence"
    );
    aside.push((number, target));
    let surplus = aside.len().saturating_sub(TABLES_DAMAGED_KEPT_MAX);
    for (_, old) in aside.drain(..surplus) {
        fs::remove_dir_all(&old).map_err(|fault| TablesFault::disk(&old, fault))?;
    }
    Ok(())
}

fn damaged_name(dir: &Path, number: u64) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(format!("{DAMAGED_SUFFIX}{number}"));
    PathBuf::from(name)
}

/// The ones moved aside before, oldest first.
fn damaged_beside(dir: &Path) -> Result<Vec<(u64, PathBuf)>, TablesFault> {
    let own_name = dir.file_name().unwrap_or_default().to_string_lossy();
    let number = |path: &Path| -> Option<u64> {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix(&*own_name)?.strip_prefix(DAMAGED_SUFFIX)?.parse().ok()
    };
    let beside = read_dir(parent_of(dir))?.into_iter();
    let mut found: Vec<_> = beside.filter_map(|path| Some((number(&path)?, path))).collect();
    found.sort_unstable();
    Ok(found)
}

fn read_dir(dir: &Path) -> Result<Vec<PathBuf>, TablesFault> {
    let fault = |fault| TablesFault::disk(dir, fault);
    let entries = fs::read_dir(dir).map_err(fault)?;
    entries.map(|entry| Ok(entry.map_err(fault)?.path())).collect()
}

fn parent_of(dir: &Path) -> &Path {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Works for files and directories.
fn sync(path: &Path) -> Result<(), TablesFault> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|fault| TablesFault::disk(path, fault))
}
