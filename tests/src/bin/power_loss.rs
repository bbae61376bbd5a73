//! `power-loss [flags]`: see `proofmark_tests::power`. Start it with `cargo xtask power-loss`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a person or a CI log reads this")]

use std::process::ExitCode;

use proofmark_tests::power::{Plan, run};
use proofmark_tests::privilege;

fn main() -> ExitCode {
    if let Err(why) = privilege::lossy_disk() {
        return privilege::skip("power-loss", &why).unwrap_or(ExitCode::SUCCESS);
    }
    let flags: Vec<String> = std::env::args().skip(1).collect();
    let outcome = Plan::parse(&flags).and_then(|plan| {
        eprintln!("power-loss: seed {}", plan.seed);
        let outcome = run(&plan, &mut |what| eprintln!("power-loss: {what}"));
        outcome.map_err(|why| format!("{why}\npower-loss: again with --seed {}", plan.seed))
    });
    match outcome {
        Ok(table) => {
            print!("{table}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("power-loss: {why}");
            ExitCode::FAILURE
        }
    }
}
