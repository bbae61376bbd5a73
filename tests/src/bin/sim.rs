//! Runs the simulator: `sim --seed S --seeds N --steps K [--planted NAME] [--trace]`.
//!
//! Ends with 0 when every run held, 1 when one did not (its seed is printed), 2 on bad arguments.
//! With `--planted` it counts instead in how many seeds the mistake was found.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people and scripts")]
#![expect(clippy::disallowed_methods, reason = "measures how long the runs take")]

use std::process::ExitCode;
use std::time::Instant;

use proofmark_tests::sim::{Plan, Planted, SimReport, run_plan};

struct Arguments {
    seed: u64,
    seeds: u64,
    steps: u64,
    planted: Option<Planted>,
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(fault) => {
            eprintln!("sim: {fault}");
            return ExitCode::from(2);
        }
    };
    match arguments.planted {
        Some(planted) => hunt(&arguments, planted),
        None => prove(&arguments),
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments =
        Arguments { seed: 1, seeds: 100, steps: 20_000, planted: None, trace: false };
    while let Some(word) = words.next() {
        if word == "--trace" {
            arguments.trace = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word}: expected a value, got none"))?;
        match word.as_str() {
            "--seed" => arguments.seed = number(&word, &value)?,
            "--seeds" => arguments.seeds = number(&word, &value)?,
            "--steps" => arguments.steps = number(&word, &value)?,
            "--planted" => arguments.planted = Some(planted(&value)?),
            _ => return Err(format!("expected --seed --seeds --steps --planted, got {word}")),
        }
    }
    Ok(arguments)
}

fn number(word: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{word}: expected a number, got {value}"))
}

fn planted(value: &str) -> Result<Planted, String> {
    let names = Planted::ALL.map(Planted::slug);
    let found = Planted::ALL.into_iter().find(|planted| planted.slug() == value);
    found.ok_or_else(|| format!("--planted: expected one of {names:?}, got {value}"))
}

impl Arguments {
    fn plans(&self) -> impl Iterator<Item = Plan> {
        let (steps, planted, keep_trace) = (self.steps, self.planted, self.trace);
        let seeds = self.seed..self.seed.saturating_add(self.seeds);
        seeds.map(move |seed| Plan { seed, steps, planted, keep_trace })
    }
}

/// Runs until one fails.
fn prove(arguments: &Arguments) -> ExitCode {
    let started = Instant::now();
    let mut reports = Vec::new();
    for plan in arguments.plans() {
        match run_plan(plan) {
            Ok(mut report) => {
                report.trace.drain(..).for_each(|line| println!("{line}"));
                reports.push(report);
            }
            Err(failure) => {
                failure.trace.iter().for_each(|line| println!("{line}"));
                eprintln!("FAILED {failure}");
                eprintln!("again: --seed {} --seeds 1 --steps {}", plan.seed, plan.steps);
                return ExitCode::FAILURE;
            }
        }
    }
    print_sums(&reports, started.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn print_sums(reports: &[SimReport], seconds: f64) {
    let sum = |of: fn(&SimReport) -> u64| reports.iter().map(of).sum::<u64>();
    println!(
        "{} seeds held: {:.1} virtual hours, {} crashes, {} isolations, {} one-way cuts, \
         {} messages lost, {} terms, {} entries, {} acks; {:.1} seeds/s",
        reports.len(),
        sum(|r| r.virtual_ms) as f64 / 3_600_000.0,
        sum(|r| r.faults.crashes),
        sum(|r| r.faults.isolations),
        sum(|r| r.faults.one_way_cuts),
        sum(|r| r.messages_dropped),
        sum(|r| r.terms_led),
        sum(|r| r.entries_committed),
        sum(|r| r.acks),
        reports.len() as f64 / seconds.max(0.001),
    );
}

/// Says in how many seeds the planted mistake was found.
fn hunt(arguments: &Arguments, planted: Planted) -> ExitCode {
    let mut found = Vec::new();
    for plan in arguments.plans() {
        if let Err(failure) = run_plan(plan) {
            if found.is_empty() {
                println!("first: {failure}");
            }
            found.push(plan.seed);
        }
    }
    println!("{}: found in {} of {} seeds", planted.slug(), found.len(), arguments.seeds);
    if found.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
