//! The simulator about itself: it repeats, much happens in it, and it can fail.

use super::*;

#[test]
fn the_same_seed_is_the_same_run_to_the_byte() {
    let story = |seed| {
        let plan = Plan { seed, cruel_ms: 10_000, planted: None, keep_story: true };
        run_plan(plan).unwrap_or_else(|failure| panic!("{failure}"))
    };
    let [first, second] = [11, 11].map(story);
    assert_eq!(first.story, second.story);
    assert_eq!(first, second);
    assert_ne!(first.trace_hash, story(12).trace_hash);
}

#[test]
fn everything_holds_and_much_happens() {
    let reports: Vec<SimReport> =
        (1..=4).map(|seed| run(seed).unwrap_or_else(|failure| panic!("{failure}"))).collect();
    let sum = |of: fn(&SimReport) -> u64| reports.iter().map(of).sum::<u64>();
    // A run in which nothing happens proves nothing.
    assert!(sum(|r| r.faults.power_cuts) > 10, "{reports:?}");
    assert!(sum(|r| r.terms_led) > 10);
    assert!(sum(|r| r.acks) > 20);
    assert!(sum(|r| r.publications) > 40);
}

#[test]
fn every_scene_ends_well() {
    for scene in scenes::SCENES {
        let told = scene.transcript().unwrap_or_else(|why| panic!("{}: {why}", scene.name));
        assert!(told.contains(" leads term "), "{}", scene.name);
    }
}

/// Seeds that once failed, each with the reason behind it.
#[test]
fn what_was_once_found_stays_mended() {
    let lines = include_str!("regressions.txt").lines().filter(|line| !line.starts_with('#'));
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let (seed, why) = line.split_once(' ').expect("a seed, a space, a reason");
        let seed = seed.parse().expect("a seed is a number");
        run(seed).unwrap_or_else(|failure| panic!("{failure}\nonce: {why}"));
    }
}
