//! `golden-data DIR REVISION`: writes a data directory of today's formats with the program that
//! `PROOFMARK_BIN` names. Called by `cargo xtask golden-data`.

#![expect(clippy::print_stderr, reason = "a person reads this")]

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, revision] = args.as_slice() else {
        eprintln!("golden-data DIR REVISION");
        return ExitCode::FAILURE;
    };
    proofmark_tests::golden_data::write(Path::new(dir), revision);
    ExitCode::SUCCESS
}
