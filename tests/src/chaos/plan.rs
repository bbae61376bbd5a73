//! What a run does: its flags.

use crate::dice::fresh_seed;

pub const USAGE: &str = "\
chaos --minutes M | --kills N  [--seed S]
  --minutes M  faults of every kind for so long, in network namespaces: needs root
  --kills N    SIGKILLs of random processes under load, on loopback
  --seed S     repeats the choices of a run; drawn and printed when absent
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub work: Work,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Minutes(u64),
    Kills(usize),
}

impl Plan {
    /// # Errors
    /// The flag that cannot be read, or that there is nothing to do.
    pub fn parse(flags: &[String]) -> Result<Plan, String> {
        let (mut work, mut seed) = (None, fresh_seed());
        for pair in flags.chunks(2) {
            let [flag, value] = pair else { return Err(format!("{}: no value\n{USAGE}", pair[0])) };
            let number: u64 = value.parse().map_err(|_| format!("{flag} {value}\n{USAGE}"))?;
            match flag.as_str() {
                "--minutes" => work = Some(Work::Minutes(number)),
                "--kills" => {
                    work = Some(Work::Kills(usize::try_from(number).unwrap_or(usize::MAX)))
                }
                "--seed" => seed = number,
                _ => return Err(format!("{flag}?\n{USAGE}")),
            }
        }
        work.map(|work| Plan { work, seed }).ok_or_else(|| USAGE.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read() {
        let parse = |flags: &str| {
            Plan::parse(&flags.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let check = |flags: &str, work: Work| {
            assert_eq!(parse(flags), Ok(Plan { work, seed: 7 }), "{flags}");
        };
        check("--minutes 2 --seed 7", Work::Minutes(2));
        check("--seed 7 --kills 100", Work::Kills(100));
        for wrong in ["", "--seed 7", "--minutes", "--kills many"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
