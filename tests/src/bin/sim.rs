//! Runs the simulator.
//!
//! ```text
//! sim --seed S [--trace]      one run; with --trace its story
//! sim --seeds N [--seed S]    N runs from seed S (default 1) on
//! sim --minutes M             fresh seeds for so long
//! sim --planted [NAME]        every planted mistake (or this one) must be found
//! sim --scene NAME            a short story of one cluster
//! ```
//! Ends with 0 when every run held, 1 when one did not (its seed is printed), 2 on bad arguments.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people and scripts")]
#![expect(clippy::disallowed_methods, reason = "fresh seeds, and how long the runs take")]

use std::process::ExitCode;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use proofmark_tests::sim::campaign::{Hunt, Sums, hunt, run_many};
use proofmark_tests::sim::scenes::{SCENES, Scene};
use proofmark_tests::sim::{CRUEL_MS, Plan, Planted, run_plan};

/// Runs in which a planted mistake must be found, and by which its rate is told.
const HUNT_SEEDS: u64 = 60;
/// Further runs for one that these did not find.
const HUNT_SEEDS_MAX: u64 = 300;

enum Task {
    One { seed: u64, trace: bool, planted: Option<Planted> },
    Many { first: u64, seeds: u64 },
    Fresh { minutes: f64 },
    Hunt(Vec<Planted>),
    Tell(Scene),
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let task = match parse(&words) {
        Ok(task) => task,
        Err(fault) => {
            eprintln!("sim: {fault}");
            return ExitCode::from(2);
        }
    };
    // A panic in a run is a failure with its text; its seed says the rest.
    std::panic::set_hook(Box::new(|_| {}));
    match task {
        Task::One { seed, trace, planted } => one(seed, trace, planted),
        Task::Many { first, seeds } => many(first, |begun, _| begun < seeds),
        Task::Fresh { minutes } => {
            let limit = Duration::from_secs_f64(minutes * 60.0);
            many(fresh_seed(), move |_, elapsed| elapsed < limit)
        }
        Task::Hunt(all) => hunt_all(&all),
        Task::Tell(scene) => tell(&scene),
    }
}

fn parse(words: &[String]) -> Result<Task, String> {
    let value = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        Some(words.get(at + 1).filter(|word| !word.starts_with("--")).cloned())
    };
    let known = ["--seed", "--seeds", "--minutes", "--planted", "--trace", "--scene"];
    if let Some(word) = words.iter().find(|w| w.starts_with("--") && !known.contains(&w.as_str())) {
        return Err(format!("expected one of {known:?}, got {word}"));
    }
    if let Some(name) = value("--scene") {
        let found = SCENES.iter().find(|scene| Some(scene.name) == name.as_deref());
        let names = SCENES.map(|scene| scene.name);
        let fault = || format!("--scene: expected one of {names:?}, got {name:?}");
        return found.copied().map(Task::Tell).ok_or_else(fault);
    }
    let number = |name: &str| value(name).map(|given| parsed::<u64>(name, given)).transpose();
    let minutes = value("--minutes").map(|given| parsed::<f64>("--minutes", given)).transpose()?;
    let seed = number("--seed")?;
    let planted = value("--planted").map(|name| name.map(|name| planted(&name)).transpose());
    let trace = words.iter().any(|word| word == "--trace");
    match (planted, minutes, number("--seeds")?) {
        (Some(one), ..) => Ok(match (one?, seed) {
            (planted, Some(seed)) => Task::One { seed, trace, planted },
            (None, None) => Task::Hunt(Planted::all().collect()),
            (Some(planted), None) => Task::Hunt(vec![planted]),
        }),
        (None, Some(minutes), _) => Ok(Task::Fresh { minutes }),
        (None, None, Some(seeds)) => Ok(Task::Many { first: seed.unwrap_or(1), seeds }),
        (None, None, None) => Ok(match seed {
            Some(seed) => Task::One { seed, trace, planted: None },
            None => Task::Many { first: 1, seeds: 100 },
        }),
    }
}

/// Seeds are read as whole numbers: a rounded one is another run.
fn parsed<N: FromStr>(name: &str, given: Option<String>) -> Result<N, String> {
    let text = given.ok_or_else(|| format!("{name}: expected a number, got nothing"))?;
    text.parse().map_err(|_| format!("{name}: expected a number, got {text}"))
}

fn planted(name: &str) -> Result<Planted, String> {
    let names = || Planted::all().map(Planted::slug).collect::<Vec<_>>();
    Planted::parse(name)
        .ok_or_else(|| format!("--planted: expected one of {:?}, got {name}", names()))
}

/// Other seeds each time; they are printed, so a run can be repeated.
fn fresh_seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs() << 24
}

fn one(seed: u64, trace: bool, planted: Option<Planted>) -> ExitCode {
    let plan = Plan { seed, cruel_ms: CRUEL_MS, planted, keep_story: trace };
    match run_plan(plan) {
        Ok(report) => {
            report.story.iter().for_each(|line| println!("{line}"));
            println!(
                "seed {seed} held: {} nodes, {:.1} virtual s, {} terms, {} entries, {} acks, {} \
                 publications; trace {}",
                report.nodes,
                report.virtual_ms as f64 / 1_000.0,
                report.terms_led,
                report.entries_committed,
                report.acks,
                report.publications,
                report.trace_hash,
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            failure.story.iter().for_each(|line| println!("{line}"));
            print_failure(&failure);
            ExitCode::FAILURE
        }
    }
}

fn tell(scene: &Scene) -> ExitCode {
    match scene.transcript() {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("FAILED scene {}: {why}", scene.name);
            ExitCode::FAILURE
        }
    }
}

fn print_failure(failure: &proofmark_tests::sim::SimFailure) {
    let commit = std::env::var("PROOFMARK_COMMIT").unwrap_or_else(|_| "unknown".to_owned());
    eprintln!("FAILED {failure}");
    eprintln!("commit {commit}; again: cargo xtask sim --seed {} --trace", failure.seed);
}

fn many(first: u64, goes_on: impl Fn(u64, Duration) -> bool + Sync) -> ExitCode {
    let started = Instant::now();
    println!("seeds from {first} on");
    let sums = run_many(first, |begun| goes_on(begun, started.elapsed()));
    print_sums(&sums, started.elapsed().as_secs_f64());
    sums.failures.iter().for_each(print_failure);
    if sums.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_sums(sums: &Sums, seconds: f64) {
    println!(
        "{} seeds, {} failed: {:.2} simulated hours, {} terms, {} entries, {} acks, {} \
         publications; {:.1} seeds/s",
        sums.seeds,
        sums.failures.len(),
        sums.virtual_ms as f64 / 3_600_000.0,
        sums.terms_led,
        sums.entries,
        sums.acks,
        sums.publications,
        sums.seeds as f64 / seconds.max(0.001),
    );
    println!("\nfaults by kind");
    for (kind, count) in sums.faults.kinds() {
        println!("  {count:>10}  {kind}");
    }
    println!("\nfaults of disks, by code site (visits, then hits)");
    sums.coverage.lines().iter().for_each(|line| println!("  {line}"));
    println!("\nnever hit");
    sums.coverage.blanks().iter().for_each(|line| println!("  {line}"));
}

/// Each mistake is hunted on one core; all cores hunt.
fn hunt_all(all: &[Planted]) -> ExitCode {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut is_any_missed = false;
    for some in all.chunks(cores) {
        let hunts: Vec<Hunt> = thread::scope(|scope| {
            let hunters: Vec<_> =
                some.iter().map(|planted| scope.spawn(|| hunt_one(*planted))).collect();
            hunters.into_iter().filter_map(|hunter| hunter.join().ok()).collect()
        });
        for hunt in hunts {
            is_any_missed |= hunt.first.is_none();
            print_hunt(&hunt);
        }
    }
    if is_any_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn hunt_one(planted: Planted) -> Hunt {
    let short = hunt(planted, HUNT_SEEDS);
    if short.first.is_some() { short } else { hunt(planted, HUNT_SEEDS_MAX) }
}

fn print_hunt(hunt: &Hunt) {
    let slug = hunt.planted.slug();
    match &hunt.first {
        Some(failure) => {
            let percent = 100 * hunt.found / hunt.seeds;
            println!(
                "{slug:<28} found after {:>3} seeds; in {percent:>3} % of {}: {}",
                failure.seed, hunt.seeds, failure.what
            );
        }
        None => println!("{slug:<28} NOT FOUND in {} seeds", hunt.seeds),
    }
}
