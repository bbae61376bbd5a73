//! The table of a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::plan::Plan;
use super::rig::{Cut, Victim};
use crate::judge::Verdict;
use crate::lossy::{Losses, Manner};

#[derive(Default)]
pub(super) struct Tally {
    rows: BTreeMap<(&'static str, &'static str), Vec<Cut>>,
    verdicts: Vec<Verdict>,
}

impl Tally {
    pub(super) fn add(&mut self, victim: Victim, manner: Manner, cut: Cut) {
        let who = match victim {
            Victim::Replica(_) => "a replica",
            Victim::Agent(_) => "an agent",
            Victim::AllReplicas => "all replicas",
        };
        let how = match manner {
            Manner::AllLost => "all unsynced lost",
            Manner::SomeKept => "a random part kept",
        };
        self.rows.entry((who, how)).or_default().push(cut);
    }

    pub(super) fn found(&mut self, verdict: Verdict) {
        self.verdicts.push(verdict);
    }

    pub(super) fn cuts(&self) -> usize {
        self.rows.values().map(Vec::len).sum()
    }

    pub(super) fn table(&self, plan: &Plan) -> String {
        let mut text = format!("power-loss: {} cuts, seed {}\n", self.cuts(), plan.seed);
        text += "whose power     manner              cuts  blocks lost/kept   names lost/kept  \
                 ready ms p50/max  next ack ms p50/max\n";
        for ((who, how), cuts) in &self.rows {
            let losses = cuts.iter().fold(Losses::default(), |mut sum, cut| {
                sum.add(cut.losses);
                sum
            });
            let ready = spread(cuts.iter().map(|cut| cut.ready));
            let accepted = spread(cuts.iter().map(|cut| cut.accepted));
            let Losses { blocks_lost, blocks_kept, names_lost, names_kept } = losses;
            let written = writeln!(
                text,
                "{who:<15} {how:<19} {:>4}  {:>17}  {:>16}  {ready:>16}  {accepted:>19}",
                cuts.len(),
                format!("{blocks_lost}/{blocks_kept}"),
                format!("{names_lost}/{names_kept}"),
            );
            written.expect("a String takes every write");
        }
        text + &self.proof()
    }

    fn proof(&self) -> String {
        let sum = |of: fn(&Verdict) -> u64| self.verdicts.iter().map(of).sum::<u64>();
        format!(
            "every start succeeded; {} installations, each replica verified: {} leaves, {} batches, \
             {} results, each once; none acknowledged is missing; roots equal; {} served numbers \
             recomputed\n",
            self.verdicts.len(),
            sum(|verdict| verdict.leaves),
            sum(|verdict| verdict.batches),
            sum(|verdict| verdict.results),
            sum(|verdict| verdict.numbers),
        )
    }
}

/// Median and longest, in milliseconds.
fn spread(times: impl Iterator<Item = Duration>) -> String {
    let mut times: Vec<u128> = times.map(|time| time.as_millis()).collect();
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    format!("{median}/{}", times.last().copied().unwrap_or_default())
}
