//! `chaos [flags]`: see `proofmark_tests::chaos`. Start it with `cargo xtask chaos`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a person or a CI log reads this")]

use std::process::ExitCode;

use proofmark_tests::chaos::{Plan, Work, run};
use proofmark_tests::privilege;

fn main() -> ExitCode {
    let flags: Vec<String> = std::env::args().skip(1).collect();
    let plan = match Plan::parse(&flags) {
        Ok(plan) => plan,
        Err(why) => return failed(&why),
    };
    if let (Work::Minutes(_), Err(why)) = (plan.work, privilege::namespaces()) {
        return privilege::skip("chaos", &why).unwrap_or(ExitCode::SUCCESS);
    }
    eprintln!("chaos: seed {}", plan.seed);
    match run(&plan, &mut |what| eprintln!("chaos: {what}")) {
        Ok(table) => {
            print!("{table}");
            ExitCode::SUCCESS
        }
        Err(why) => failed(&format!("{why}\nchaos: again with --seed {}", plan.seed)),
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("chaos: {why}");
    ExitCode::FAILURE
}
