//! What a run does: its flags.

use crate::dice::fresh_seed;

pub const USAGE: &str = "\
power-loss [--cuts N] [--seed S] [--aged-mib M]
  --cuts N      power cuts in all (100); half of them on an aged installation
  --seed S      repeats the choices of a run; drawn and printed when absent
  --aged-mib M  what one replica's disk holds before it counts as aged (200); 0: new ones only
";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub cuts: usize,
    pub seed: u64,
    pub aged_mib: u64,
}

impl Plan {
    /// # Errors
    /// The flag that cannot be read.
    pub fn parse(flags: &[String]) -> Result<Plan, String> {
        let mut plan = Plan { cuts: 100, seed: fresh_seed(), aged_mib: 200 };
        for pair in flags.chunks(2) {
            let [flag, value] = pair else { return Err(format!("{}: no value\n{USAGE}", pair[0])) };
            let number: u64 = value.parse().map_err(|_| format!("{flag} {value}\n{USAGE}"))?;
            match flag.as_str() {
                "--cuts" => plan.cuts = usize::try_from(number).unwrap_or(usize::MAX),
                "--seed" => plan.seed = number,
                "--aged-mib" => plan.aged_mib = number,
                _ => return Err(format!("{flag}?\n{USAGE}")),
            }
        }
        Ok(plan)
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
        let expect = Plan { cuts: 10, seed: 7, aged_mib: 0 };
        assert_eq!(parse("--cuts 10 --seed 7 --aged-mib 0"), Ok(expect));
        for wrong in ["--cuts", "--cuts ten", "--cut 10"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
