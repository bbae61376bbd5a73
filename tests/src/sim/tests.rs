//! The simulator about itself: it repeats, much happens in it, and it can fail.

use super::*;
use crate::golden;

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

/// What a newcomer reads of a cluster: `tests/golden/cluster`.
#[test]
fn every_scene_is_told_as_written() {
    let differences = scenes::SCENES.iter().filter_map(|scene| {
        let told = scene.transcript().unwrap_or_else(|why| panic!("{}: {why}", scene.name));
        golden::difference(&golden::dir("cluster").join(format!("{}.txt", scene.name)), &told)
    });
    golden::assert_none(&differences.collect::<Vec<_>>());
}

#[test]
fn who_calls_a_node_that_is_down_calls_again() {
    let mut world = scenes::small_world().expect("a small world");
    world.suffer(3_000).expect("nothing fails");
    (0..3).for_each(|node| world.crash_node(node, world::End::Killed, 1_500));
    world.suffer(12_000).expect("nothing else fails");
    let up = world.agents[0].up.as_ref();
    assert!(up.is_some_and(|agent| agent.link.is_welcome), "its first call met nobody");
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
