//! `bench NAME [flags]`: see `proofmark_tests::bench`. Start it with `cargo xtask bench`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a person or a CI log reads this")]

use std::process::ExitCode;

use proofmark_tests::bench::{Plan, USAGE, failover, idle, ingest, overload, parse_one};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (name, flags) = args.split_first().ok_or(USAGE)?;
    let say = &mut |what: &str| eprintln!("bench: {what}");
    match name.as_str() {
        "ingest" => {
            for plan in Plan::parse(flags)? {
                print!("{}", ingest(&plan, say)?);
            }
        }
        "failover" => print!("{}", failover(parse_one(flags, "--kills", 30, 1_000)?, say)?),
        "idle" => print!("{}", idle(parse_one(flags, "--seconds", 20, 3_600)?, say)?),
        "overload" => print!("{}", overload(parse_one(flags, "--seconds", 15, 600)?, say)?),
        _ => return Err(USAGE.to_owned()),
    }
    Ok(())
}
