//! How the program ends, as numbers that scripts may rely on.

use std::process::ExitCode;

/// Every way to end. Numbers follow `sysexits.h` where it has one; `check run` follows the
/// Nagios plugins for 0, 1 and 3, so that it can stand in for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok,
    Failed,
    Unknown,
    Usage,
    Evidence,
    Unavailable,
    Internal,
    Storage,
    DrainCut,
    Refused,
    Config,
}

const TABLE: &[(Exit, u8, &str)] = &[
    (Exit::Ok, 0, "done; `check run`: the check passed; a daemon: drained after a signal"),
    (Exit::Failed, 1, "`check run`: the check failed"),
    (Exit::Unknown, 3, "`check run`: could not tell"),
    (Exit::Usage, 64, "the command line or a document is wrong; every fault is printed"),
    (
        Exit::Evidence,
        65,
        "evidence, a proof or (`fsck`) a data directory does not verify; what broke is printed",
    ),
    (Exit::Unavailable, 69, "no aggregator answered, or an address is taken; try again"),
    (Exit::Internal, 70, "a part of the program failed; start it again, and tell its makers"),
    (Exit::Storage, 74, "a data directory cannot be read or written, or is not ours"),
    (Exit::DrainCut, 75, "a daemon: the drain was cut short; nothing acknowledged is lost"),
    (
        Exit::Refused,
        77,
        "the aggregator refused the command, or a replica's peers refused it, and said why",
    ),
    (Exit::Config, 78, "a configuration is wrong; every fault is printed"),
];

impl Exit {
    pub fn code(self) -> u8 {
        let row = TABLE.iter().find(|(exit, _, _)| *exit == self);
        row.expect("every exit stands in the table").1
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// What `proofmark help exit-codes` prints.
pub fn table() -> String {
    let rows = TABLE.iter().map(|(_, code, meaning)| format!("{code:>4}  {meaning}\n"));
    std::iter::once("code  meaning\n".to_owned()).chain(rows).collect()
}

/// A command's failure: how to end, and what to say.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// For `map_err`: `Failure::because(Exit::Storage)` keeps the error's own words.
    pub fn because<E: std::fmt::Display>(exit: Exit) -> impl Fn(E) -> Self {
        move |why| Self::new(exit, why.to_string())
    }
}

/// What every command answers.
pub type Done = Result<Exit, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_printed() {
        let mut codes: Vec<u8> = TABLE.iter().map(|(exit, _, _)| exit.code()).collect();
        codes.dedup();
        assert_eq!(codes, [0, 1, 3, 64, 65, 69, 70, 74, 75, 77, 78]);
        assert!(table().contains("  65  evidence, a proof or (`fsck`) a data directory"));
    }
}
