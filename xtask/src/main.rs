//! What people and CI both call: `cargo xtask ci | test | tidy | deny | bench | sim | fuzz |
//! chaos | power-loss | golden-data | stranger`.
//!
//! In: the checkout. Out: an exit code, and a line for each step with the time it took.
//! This program never changes a source file and never contains logic of the product.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a person or a CI log reads this")]

mod bench;
mod ci;
mod deny;
mod fuzz;
mod golden_data;
mod nemesis;
mod sim;
mod stranger;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask VERB

  ci         everything CI runs, in its order: format, lints, tidy, deny, tests, sim, nemeses,
             stranger
  test       every test of the workspace, the real-process ones included
  tidy       the room table, limits, sizes, crash sentences, dead files, what the pages name
  deny       one version of each crate that must be single; nothing banned; our crates' edges
  bench      bench ingest: signed results/s accepted by a 3-replica cluster on this machine
  sim        sim --seed S [--trace] | --seeds N | --minutes M | --planted [NAME]: the deterministic
             simulator: one run and its story, many, fresh ones, planted mistakes
  fuzz       fuzz [--minutes M] [--target T]: libFuzzer on every decoder of foreign bytes
  golden-data  golden-data N: writes tests/golden/data-N, directories of today's formats
  chaos      chaos --minutes M | --kills N [--seed S] [--upgrade-from REV]: a nemesis at processes
  power-loss power-loss [--cuts N] [--seed S] [--aged-mib M]: real programs on disks that lose power
  stranger   Go's own transparency-log packages check a log that this build wrote
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let outcome = match args.first().map(String::as_str) {
        Some("ci") => ci::run(),
        Some("test") => test::run(rest),
        Some("tidy") => tidy::run(),
        Some("deny") => deny::run(),
        Some("bench") => bench::run(rest),
        Some("golden-data") => golden_data::run(rest),
        Some("chaos") => nemesis::chaos(rest),
        Some("power-loss") => nemesis::power_loss(rest),
        Some("sim") => sim::run(rest),
        Some("fuzz") => fuzz::run(rest),
        Some("stranger") => stranger::run(),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
