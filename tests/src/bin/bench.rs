//! `bench ingest [flags]`: see `proofmark_tests::bench`. Start it with `cargo xtask bench`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a person or a CI log reads this")]

use std::process::ExitCode;

use proofmark_tests::bench::{Plan, USAGE, ingest};

fn main() -> ExitCode {
    match run() {
        Ok(table) => {
            print!("{table}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((name, flags)) if name == "ingest" => {
            let plan = Plan::parse(flags)?;
            ingest(&plan, &mut |what| eprintln!("bench: {what}"))
        }
        _ => Err(USAGE.to_owned()),
    }
}
