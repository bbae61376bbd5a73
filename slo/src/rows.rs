//! The ledger as rows of a table: what is kept of it across a restart.
//!
//! Keys are text, `/` between their parts (names are labels and hold none); numbers in keys are
//! decimal and padded, so that keys sort as they mean. Values are in `evidence`'s codec. The rows
//! of two equal ledgers are equal byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use proofmark_evidence::{AgentName, CheckName, DecodeFault};

use crate::ledger::{Ignored, Ledger};
use crate::minutes::Hour;
use crate::objective::Generation;
use crate::row_values as values;

/// A row: key and value, or key and nothing where the row is to be removed.
pub type RowChange = (Vec<u8>, Option<Vec<u8>>);

/// What a row holds, and of whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowKey {
    /// `m`: the instant and the counts of ignored runs.
    Meta,
    /// `c/<check>`
    Check(CheckName),
    /// `a/<agent>`
    Agent(AgentName),
    /// `s/<check>/<agent>`
    Series(CheckName, AgentName),
    /// `g/<slo>/<revision>`: the definition.
    Generation(String, u64),
    /// `h/<slo>/<revision>/<hour since the epoch>`: an hour of its cells.
    Hour(String, u64, u64),
}

/// A row that cannot be read back. The table is then dropped and rebuilt from the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowFault {
    #[error("row {key:?}: expected a key of the ledger")]
    Key { key: String },
    #[error("row {key:?}: {fault}")]
    Value { key: String, fault: DecodeFault },
    #[error("row {key:?}: expected its definition row beside it, got none")]
    Orphan { key: String },
}

impl RowFault {
    /// Stable name for logs and metrics.
    pub fn slug(&self) -> &'static str {
        match self {
            RowFault::Key { .. } => "row_key",
            RowFault::Value { .. } => "row_value",
            RowFault::Orphan { .. } => "row_orphan",
        }
    }
}

impl Ledger {
    /// Every row, ascending by key.
    pub fn rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let few = self.few_keys().into_iter();
        let few = few.filter_map(|key| Some((key.to_bytes(), self.row(&key)?)));
        let series = self.all_series();
        let series = series.map(|(check, agent, series)| {
            (series_key(check, agent), values::encode_series(series))
        });
        let mut rows: Vec<_> = few.chain(series).collect();
        rows.sort_unstable();
        rows
    }

    /// The rows that changed since this was last called, ascending by key.
    pub fn take_dirty_rows(&mut self) -> Vec<RowChange> {
        let mut keys = std::mem::take(&mut self.touched);
        for (slo, generations) in &mut self.objectives {
            for generation in generations {
                let hours = generation.minutes.take_dirty().into_iter();
                keys.extend(hours.map(|hour| RowKey::Hour(slo.clone(), generation.revision, hour)));
            }
        }
        let mut rows: Vec<_> = keys.iter().map(|key| (key.to_bytes(), self.row(key))).collect();
        self.take_dirty_series(&mut rows);
        rows.sort_unstable();
        // A series that went and came again was touched and is dirty.
        rows.dedup_by(|next, row| next.0 == row.0);
        rows
    }

    /// The ledger whose rows these are, in any order.
    pub fn from_rows(
        rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<Ledger, RowFault> {
        let mut keyed = BTreeMap::new();
        for (key, value) in rows {
            keyed.insert(RowKey::parse(&key)?, value);
        }
        let mut ledger = Ledger::new();
        // In key order: each definition comes before its hours and before later definitions.
        for (key, value) in &keyed {
            ledger.restore(key, value)?;
        }
        ledger.refresh_readers();
        ledger.refresh_kept_from();
        Ok(ledger)
    }

    /// There may be a hundred thousand: none is looked up by its key.
    fn take_dirty_series(&mut self, rows: &mut Vec<RowChange>) {
        for (agent, checks) in &mut self.series {
            for (check, series) in checks {
                if std::mem::take(&mut series.dirty) {
                    rows.push((series_key(check, agent), Some(values::encode_series(series))));
                }
            }
        }
    }

    /// Of every row but those of the series.
    fn few_keys(&self) -> BTreeSet<RowKey> {
        let mut keys = BTreeSet::from([RowKey::Meta]);
        keys.extend(self.fleet.checks.keys().cloned().map(RowKey::Check));
        keys.extend(self.fleet.agents.keys().cloned().map(RowKey::Agent));
        for (slo, generations) in &self.objectives {
            keys.extend(generations.iter().flat_map(|one| RowKey::all_of(slo, one)));
        }
        keys
    }

    /// The value of a row, if there is such a row.
    fn row(&self, key: &RowKey) -> Option<Vec<u8>> {
        match key {
            RowKey::Meta => {
                let is_new = self.as_of_ms == 0 && self.ignored == Ignored::default();
                (!is_new).then(|| values::encode_meta(self.as_of_ms, self.ignored))
            }
            RowKey::Check(check) => self.fleet.checks.get(check).map(values::encode_plan),
            RowKey::Agent(agent) => self.fleet.agents.get(agent).map(|ms| values::encode_ms(*ms)),
            RowKey::Series(check, agent) => {
                self.series.get(agent)?.get(check).map(values::encode_series)
            }
            RowKey::Generation(slo, revision) => {
                self.generation(slo, *revision).map(values::encode_generation)
            }
            RowKey::Hour(slo, revision, hour) => {
                self.generation(slo, *revision)?.minutes.hour(*hour).map(Hour::encode)
            }
        }
    }

    fn restore(&mut self, key: &RowKey, value: &[u8]) -> Result<(), RowFault> {
        let unreadable = |fault| RowFault::Value { key: key.to_string(), fault };
        match key {
            RowKey::Meta => {
                (self.as_of_ms, self.ignored) = values::decode_meta(value).map_err(unreadable)?;
            }
            RowKey::Check(check) => {
                let plan = values::decode_plan(value).map_err(unreadable)?;
                self.fleet.checks.insert(check.clone(), plan);
            }
            RowKey::Agent(agent) => {
                let expected_from_ms = values::decode_ms(value).map_err(unreadable)?;
                self.fleet.agents.insert(agent.clone(), expected_from_ms);
            }
            RowKey::Series(check, agent) => {
                let series = values::decode_series(value).map_err(unreadable)?;
                self.series.entry(agent.clone()).or_default().insert(check.clone(), series);
            }
            RowKey::Generation(slo, revision) => {
                let generation = values::decode_generation(*revision, value).map_err(unreadable)?;
                self.objectives.entry(slo.clone()).or_default().push(generation);
            }
            RowKey::Hour(slo, revision, hour) => {
                let cells = Hour::decode(value).map_err(unreadable)?;
                let orphan = || RowFault::Orphan { key: key.to_string() };
                let generations = self.objectives.get_mut(slo).ok_or_else(orphan)?;
                let mut owner = generations.iter_mut().filter(|one| one.revision == *revision);
                owner.next().ok_or_else(orphan)?.minutes.restore(*hour, cells);
            }
        }
        Ok(())
    }

    fn generation(&self, slo: &str, revision: u64) -> Option<&Generation> {
        self.objectives.get(slo)?.iter().find(|generation| generation.revision == revision)
    }
}

impl RowKey {
    /// The keys of a generation: its definition, its hours, and hours whose removal is pending.
    pub(crate) fn all_of(slo: &str, generation: &Generation) -> Vec<RowKey> {
        let revision = generation.revision;
        let hours = generation.minutes.row_hours().into_iter();
        let hours = hours.map(|hour| RowKey::Hour(slo.to_owned(), revision, hour));
        hours.chain([RowKey::Generation(slo.to_owned(), revision)]).collect()
    }

    fn to_bytes(&self) -> Vec<u8> {
        match self {
            RowKey::Series(check, agent) => series_key(check, agent),
            other => other.to_string().into_bytes(),
        }
    }

    fn parse(key: &[u8]) -> Result<RowKey, RowFault> {
        let text = String::from_utf8_lossy(key);
        let parts: Vec<&str> = text.split('/').collect();
        let parsed = match parts[..] {
            ["m"] => Some(RowKey::Meta),
            ["c", check] => CheckName::parse(check).ok().map(RowKey::Check),
            ["a", agent] => AgentName::parse(agent).ok().map(RowKey::Agent),
            ["s", check, agent] => parse_series(check, agent),
            ["g", slo, revision] => {
                revision.parse().ok().map(|revision| RowKey::Generation(slo.to_owned(), revision))
            }
            ["h", slo, revision, hour] => parse_hour(slo, revision, hour),
            _ => None,
        };
        // Only the one spelling: no sign, no missing padding, no bytes that are not text.
        parsed
            .filter(|parsed| parsed.to_bytes() == key)
            .ok_or_else(|| RowFault::Key { key: text.into_owned() })
    }
}

fn parse_series(check: &str, agent: &str) -> Option<RowKey> {
    Some(RowKey::Series(CheckName::parse(check).ok()?, AgentName::parse(agent).ok()?))
}

fn parse_hour(slo: &str, revision: &str, hour: &str) -> Option<RowKey> {
    Some(RowKey::Hour(slo.to_owned(), revision.parse().ok()?, hour.parse().ok()?))
}

fn series_key(check: &CheckName, agent: &AgentName) -> Vec<u8> {
    ["s/", check.as_str(), "/", agent.as_str()].concat().into_bytes()
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RowKey::Meta => write!(f, "m"),
            RowKey::Check(check) => write!(f, "c/{check}"),
            RowKey::Agent(agent) => write!(f, "a/{agent}"),
            RowKey::Series(check, agent) => write!(f, "s/{check}/{agent}"),
            RowKey::Generation(slo, revision) => write!(f, "g/{slo}/{revision:020}"),
            RowKey::Hour(slo, revision, hour) => write!(f, "h/{slo}/{revision:020}/{hour:013}"),
        }
    }
}
