//! Trees that change under a check.

use std::fs;
use std::path::PathBuf;

use proofmark_evidence::MeasurementKind::{FilesBytes, FilesChangedCount, FilesCount};

use crate::checks::{Checks, Observation};
use crate::clock::Clock;
use crate::tests::check;

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A tree `a` = "abc", `d/b` = "b", and a place for baselines.
struct World {
    _dir: tempfile::TempDir,
    tree: PathBuf,
    checks: Checks,
    baselines: PathBuf,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (tree, baselines) = (dir.path().join("tree"), dir.path().join("baselines"));
        fs::create_dir_all(tree.join("d")).expect("made");
        fs::write(tree.join("a"), "abc").expect("written");
        fs::write(tree.join("d/b"), "b").expect("written");
        let checks = Checks::new(Clock::system(), Some(baselines.clone()));
        World { _dir: dir, tree, checks, baselines }
    }

    async fn see(&self, options: &str) -> Observation {
        let probe = format!("files: {{path: '{}', {options}}}", self.tree.display());
        self.checks.run(&check("5s", &probe)).await
    }
}

fn measured(seen: &Observation, kind: proofmark_evidence::MeasurementKind) -> Option<i64> {
    seen.measurements.iter().find(|one| one.kind == kind).map(|one| one.value)
}

#[tokio::test]
async fn the_first_run_takes_the_baseline_and_later_change_fails_by_name() {
    let world = World::new();
    let first = world.see("").await;
    assert_eq!(first.outcome.slug(), "pass", "{}", first.detail);
    assert_eq!((measured(&first, FilesCount), measured(&first, FilesBytes)), (Some(2), Some(4)));
    assert_eq!(world.see("").await.outcome.slug(), "pass");

    fs::write(world.tree.join("new"), "").expect("written");
    let seen = world.see("").await;
    assert_eq!(
        (seen.outcome.slug(), seen.detail.as_str()),
        ("file_unexpected", "1 unexpected (new)")
    );
    fs::remove_file(world.tree.join("d/b")).expect("removed");
    let seen = world.see("").await;
    assert_eq!(seen.outcome.slug(), "file_missing");
    fs::write(world.tree.join("a"), "abd").expect("written");
    let seen = world.see("").await;
    assert_eq!(seen.outcome.slug(), "file_changed");
    assert_eq!(seen.detail, "1 changed (a), 1 missing (d/b), 1 unexpected (new)");
    assert_eq!(measured(&seen, FilesChangedCount), Some(3));
}

#[tokio::test]
async fn another_scope_takes_another_baseline() {
    let world = World::new();
    world.see("").await;
    fs::write(world.tree.join("a"), "changed").expect("written");
    assert_eq!(world.see("exclude: [a]").await.outcome.slug(), "pass");
}

#[tokio::test]
async fn a_damaged_baseline_is_no_baseline() {
    let world = World::new();
    world.see("").await;
    let path = fs::read_dir(&world.baselines).expect("there").next().expect("one").expect("read");
    let text = fs::read_to_string(path.path()).expect("text");
    fs::write(path.path(), text.replace("  a\n", "  x\n")).expect("written");
    assert_eq!(world.see("").await.outcome.slug(), "agent_fault");
}

#[tokio::test]
async fn digests_and_manifests_are_held_to_the_covered_files_only() {
    let world = World::new();
    let good = format!("include: [a], expect: {{a: {ABC}}}");
    assert_eq!(world.see(&good).await.outcome.slug(), "pass");
    let bad = format!("include: [d/b], expect: {{d/b: {ABC}}}");
    assert_eq!(world.see(&bad).await.outcome.slug(), "digest_mismatch");
    let manifest = world.baselines.with_file_name("SHA256SUMS");
    fs::write(&manifest, format!("{ABC}  a\n{ABC}  elsewhere/z\n")).expect("written");
    let by_manifest = format!("include: [a], manifest: '{}'", manifest.display());
    assert_eq!(world.see(&by_manifest).await.outcome.slug(), "pass");
    let all = format!("manifest: '{}'", manifest.display());
    let seen = world.see(&all).await;
    assert_eq!(seen.detail, "1 missing (elsewhere/z), 1 unexpected (d/b)");
}

#[tokio::test]
async fn too_many_files_or_no_data_directory_is_unknown_and_no_tree_is_missing() {
    let world = World::new();
    let seen = world.see("files_count_max: 1").await;
    assert_eq!(seen.outcome.slug(), "agent_fault", "{}", seen.detail);
    let probe = format!("files: {{path: '{}'}}", world.tree.display());
    let seen = crate::checks::run_check_once(&check("5s", &probe)).await;
    assert_eq!(seen.outcome.slug(), "agent_fault", "{}", seen.detail);
    fs::remove_dir_all(&world.tree).expect("removed");
    assert_eq!(world.see("").await.outcome.slug(), "file_missing");
}

#[cfg(unix)]
#[tokio::test]
async fn links_count_as_what_they_hold_unless_followed() {
    let world = World::new();
    let link = |target: &str| {
        let path = world.tree.join("link");
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink(target, path).expect("linked");
    };
    link("a");
    assert_eq!(world.see("include: [link]").await.outcome.slug(), "pass");
    link("./a");
    assert_eq!(world.see("include: [link]").await.outcome.slug(), "file_changed");
    let followed = "include: [link], follow_symlinks: true";
    assert_eq!(world.see(followed).await.outcome.slug(), "pass");
    link("a");
    assert_eq!(world.see(followed).await.outcome.slug(), "pass");
}
