//! Coverage-guided fuzzing of every decoder of foreign bytes, on the stable toolchain.
//!
//! The targets and their laws are in `tests/src/fuzz`; `fuzz/` puts libFuzzer around them. What it
//! finds worth keeping stays under `target/fuzz`; what breaks a law goes into `tests/corpus`, where
//! `cargo test` meets it until it is mended.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::workspace::{Outcome, root, run as run_command, target};

/// What `-Z sanitizer` would do on nightly, as flags that stable takes: counters at every edge, and
/// the operands of comparisons, so that magic numbers are found.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// For one input: one that takes longer is a finding.
const INPUT_SECONDS_MAX: u64 = 5;
const INPUT_BYTES_MAX: u64 = 65_536;
const TARGET_SECONDS_MIN: u64 = 5;

struct Plan {
    minutes: u64,
    targets: Vec<String>,
}

/// What libFuzzer said at the end.
struct Run {
    target: String,
    executions: u64,
    per_second: u64,
    /// Edges reached, by the samples and by what was made of them.
    edges: u64,
    crash: Option<PathBuf>,
}

/// `--minutes M` in all, on all cores, over every target or `--target T`.
pub fn run(args: &[String]) -> Outcome {
    let plan = plan(args)?;
    let program = build()?;
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let seconds = plan.minutes * 60 * cores / plan.targets.len().max(1) as u64;
    let seconds = seconds.max(TARGET_SECONDS_MIN);
    println!("fuzz: {} targets, {seconds} s each, {cores} at once", plan.targets.len());
    let (waiting, done) = (Mutex::new(plan.targets), Mutex::new(Vec::new()));
    let next = || waiting.lock().ok()?.pop();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(target) = next() {
                    let run = fuzz(&program, &target, seconds);
                    if let Ok(mut done) = done.lock() {
                        done.push(run);
                    }
                }
            });
        }
    });
    report(done.into_inner().map_err(|_| "a thread of the fuzzer panicked")?)
}

fn plan(args: &[String]) -> Result<Plan, String> {
    let mut plan = Plan { minutes: 10, targets: targets()? };
    for pair in args.chunks(2) {
        match pair {
            [word, value] if word == "--minutes" => {
                let minutes = value.parse();
                plan.minutes = minutes.map_err(|_| format!("--minutes: got {value}"))?;
            }
            [word, value] if word == "--target" => {
                if !plan.targets.contains(value) {
                    return Err(format!("--target: expected one of {:?}", plan.targets));
                }
                plan.targets = vec![value.clone()];
            }
            _ => return Err(format!("expected --minutes M and --target T, got {pair:?}")),
        }
    }
    Ok(plan)
}

/// Each has a folder in the corpus; a test holds that.
fn targets() -> Result<Vec<String>, String> {
    let corpus = root().join("tests/corpus");
    let entries = std::fs::read_dir(&corpus).map_err(|why| format!("{corpus:?}: {why}"))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    // Taken from the end.
    names.sort_by(|a, b| b.cmp(a));
    Ok(names)
}

/// With `--target`, so that the flags reach our crates and not the build scripts.
fn build() -> Result<PathBuf, String> {
    let (host, dir) = (host()?, target().join("fuzz"));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--quiet", "--manifest-path", "fuzz/Cargo.toml"]);
    command.args(["--target", &host]).arg("--target-dir").arg(&dir).env("RUSTFLAGS", COVERAGE);
    run_command(&mut command)?;
    Ok(dir.join(host).join("release/proofmark-fuzz"))
}

fn host() -> Result<String, String> {
    let output =
        Command::new("rustc").arg("-vV").output().map_err(|why| format!("rustc: {why}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc -vV: no host".to_owned())
}

fn fuzz(program: &Path, name: &str, seconds: u64) -> Result<Run, String> {
    let work = target().join("fuzz/corpus").join(name);
    let crashes = target().join("fuzz/crashes").join(name);
    for dir in [&work, &crashes] {
        std::fs::create_dir_all(dir).map_err(|why| format!("{dir:?}: {why}"))?;
    }
    let output = Command::new(program)
        .env("PROOFMARK_FUZZ_TARGET", name)
        // Naming every frame takes longer than an input may.
        .env("RUST_BACKTRACE", "0")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .args(["-rss_limit_mb=2048", "-print_final_stats=1"])
        .args([&work, &root().join("tests/corpus").join(name)])
        .stdin(Stdio::null())
        .output()
        .map_err(|why| format!("{}: {why}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let crash = match output.status.success() {
        true => None,
        false => Some(keep_crash(name, &said)?),
    };
    let stat = |name: &str| number_after(&said, name).unwrap_or_default();
    Ok(Run {
        target: name.to_owned(),
        executions: stat("stat::number_of_executed_units:"),
        per_second: stat("stat::average_exec_per_sec:"),
        edges: stat(" cov:"),
        crash,
    })
}

/// The number that follows the last of these words.
fn number_after(text: &str, words: &str) -> Option<u64> {
    let (_, after) = text.rsplit_once(words)?;
    after.split_whitespace().next()?.parse().ok()
}

/// Into the corpus, where the tests find it.
fn keep_crash(name: &str, said: &str) -> Result<PathBuf, String> {
    let ending = || said.lines().rev().take(30).collect::<Vec<_>>().join("\n");
    let (_, after) = said
        .rsplit_once("Test unit written to ")
        .ok_or_else(|| format!("{name}: ended without an input\n{}", ending()))?;
    let found = Path::new(after.lines().next().unwrap_or_default().trim());
    let file_name = found.file_name().ok_or_else(|| format!("{name}: no file name"))?;
    let kept = root().join("tests/corpus").join(name).join(file_name);
    std::fs::copy(found, &kept).map_err(|why| format!("{found:?}: {why}"))?;
    let why = said.split("panicked at ").nth(1).unwrap_or(said);
    println!("fuzz: {name} broke:\n{}", why.lines().take(6).collect::<Vec<_>>().join("\n"));
    Ok(kept)
}

fn report(runs: Vec<Result<Run, String>>) -> Outcome {
    let mut runs = runs.into_iter().collect::<Result<Vec<Run>, String>>()?;
    runs.sort_by(|a, b| a.target.cmp(&b.target));
    println!("{:22} {:>12} {:>10} {:>8}", "target", "executions", "per s", "edges");
    for Run { target, executions, per_second, edges, crash } in &runs {
        let end = if crash.is_some() { "  BROKEN" } else { "" };
        println!("{target:22} {executions:12} {per_second:10} {edges:8}{end}");
    }
    let sum: u64 = runs.iter().map(|run| run.executions).sum();
    println!("fuzz: {sum} executions");
    let crashes: Vec<String> =
        runs.iter().filter_map(|run| Some(run.crash.as_ref()?.display().to_string())).collect();
    match crashes.is_empty() {
        true => Ok(()),
        false => Err(format!("fuzz: kept for the tests:\n{}", crashes.join("\n"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_counts() {
        let said = "#2 INITED cov: 12 ft: 13\n#9 DONE cov: 40 ft: 41\nstat::x: 7\n";
        assert_eq!(number_after(said, " cov:"), Some(40));
        assert_eq!(number_after(said, "stat::x:"), Some(7));
        assert_eq!(number_after(said, "stat::y:"), None);
    }

    #[test]
    fn arguments_are_minutes_and_a_target() {
        let plan = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            plan(&words).map(|plan| (plan.minutes, plan.targets.len()))
        };
        assert_eq!(plan(&["--minutes", "3", "--target", "leaf"]), Ok((3, 1)));
        assert!(plan(&["--target", "nothing"]).is_err());
        assert!(plan(&["--minutes"]).is_err());
    }
}
