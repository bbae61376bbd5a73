//! What changes the expectations: specs, enrolments, retirements.
//!
//! Every change names the instant from which it holds, and that instant lies after `as_of`: what
//! was already decided stays decided. An instant that does not is moved to `as_of`.

use std::collections::{BTreeMap, BTreeSet};

use proofmark_evidence::{AgentName, CheckName};
use proofmark_spec::{Documents, Grid, Slo};

use crate::fleet::Plan;
use crate::ledger::Ledger;
use crate::limits::ENROL_LEAD_MS;
use crate::minutes::Minutes;
use crate::objective::{Generation, Rule};
use crate::rows::RowKey;

impl Ledger {
    /// From `effective_at_ms` on, `in_force` holds: the whole of it, not only what is new.
    /// It must have passed [`Documents::resolve`].
    pub fn spec_changed(&mut self, revision: u64, effective_at_ms: u64, in_force: &Documents) {
        let from_ms = effective_at_ms.max(self.as_of_ms);
        self.replace_checks(in_force);
        self.reassign(from_ms);
        for slo in &in_force.slos {
            if let Some(rule) = Rule::of(slo, in_force) {
                self.define(slo, rule, revision, from_ms);
            }
        }
        self.end_undefined(from_ms, in_force);
        self.refresh_readers();
        self.refresh_kept_from();
    }

    /// Runs are expected of the agent from [`ENROL_LEAD_MS`] after `at_ms` on.
    pub fn agent_enrolled(&mut self, agent: &AgentName, at_ms: u64) {
        let from_ms = at_ms.saturating_add(ENROL_LEAD_MS).max(self.as_of_ms);
        let expected_from_ms = *self.fleet.agents.entry(agent.clone()).or_insert(from_ms);
        self.touched.insert(RowKey::Agent(agent.clone()));
        for (check, grid) in self.fleet.grids_of(agent) {
            self.assign(check, agent.clone(), grid, expected_from_ms);
        }
    }

    /// Nothing is expected of the agent from `at_ms` on.
    pub fn agent_retired(&mut self, agent: &AgentName, at_ms: u64) {
        let at_ms = at_ms.max(self.as_of_ms);
        self.fleet.agents.remove(agent);
        self.touched.insert(RowKey::Agent(agent.clone()));
        for series in self.series.get_mut(agent).into_iter().flat_map(BTreeMap::values_mut) {
            series.end(at_ms);
        }
        self.remove_idle_series();
    }

    fn replace_checks(&mut self, in_force: &Documents) {
        let named = in_force.checks.iter().filter_map(|check| {
            CheckName::parse(&check.name).ok().map(|name| (name, Plan::of(check)))
        });
        let before = std::mem::replace(&mut self.fleet.checks, named.collect());
        let names: BTreeSet<_> = before.keys().chain(self.fleet.checks.keys()).collect();
        let changed =
            names.into_iter().filter(|name| before.get(*name) != self.fleet.checks.get(*name));
        self.touched.extend(changed.cloned().map(RowKey::Check));
    }

    /// Brings every series' assignments in line with the checks, from `from_ms` on.
    fn reassign(&mut self, from_ms: u64) {
        for (agent, checks) in &mut self.series {
            for (check, series) in checks {
                if series.grid() != self.fleet.grid(check, agent) {
                    series.end(from_ms);
                }
            }
        }
        for (agent, expected_from_ms) in self.fleet.agents.clone() {
            for (check, grid) in self.fleet.grids_of(&agent) {
                self.assign(check, agent.clone(), grid, from_ms.max(expected_from_ms));
            }
        }
        self.remove_idle_series();
    }

    fn assign(&mut self, check: CheckName, agent: AgentName, grid: Grid, from_ms: u64) {
        let series = self.series.entry(agent).or_default().entry(check).or_default();
        series.assign(grid, from_ms);
    }

    /// An SLO whose rule is as it was just goes on; the service is only a name on it.
    fn define(&mut self, slo: &Slo, rule: Rule, revision: u64, from_ms: u64) {
        let generations = self.objectives.entry(slo.name.clone()).or_default();
        match generations.last_mut().filter(|newest| newest.is_open() && newest.rule == rule) {
            Some(newest) if newest.service == slo.service => return,
            Some(newest) => {
                newest.service.clone_from(&slo.service);
                let key = RowKey::Generation(slo.name.clone(), newest.revision);
                self.touched.insert(key);
                return;
            }
            None => self.end_objective(&slo.name, from_ms),
        }
        self.touched.insert(RowKey::Generation(slo.name.clone(), revision));
        self.objectives.entry(slo.name.clone()).or_default().push(Generation {
            revision,
            from_ms,
            until_ms: None,
            service: slo.service.clone(),
            rule,
            minutes: Minutes::default(),
        });
    }

    fn end_undefined(&mut self, from_ms: u64, in_force: &Documents) {
        let defined: BTreeSet<&str> = in_force.slos.iter().map(|slo| slo.name.as_str()).collect();
        let names = self.objectives.keys().filter(|name| !defined.contains(name.as_str()));
        for name in names.cloned().collect::<Vec<_>>() {
            self.end_objective(&name, from_ms);
        }
    }

    /// Ends the open generation; one that would never have been in force goes at once.
    fn end_objective(&mut self, slo: &str, at_ms: u64) {
        for generation in self.objectives.get_mut(slo).into_iter().flatten() {
            if generation.is_open() {
                generation.until_ms = Some(at_ms);
                self.touched.insert(RowKey::Generation(slo.to_owned(), generation.revision));
            }
        }
        self.remove_generations(|one| one.until_ms.is_some_and(|until_ms| until_ms <= one.from_ms));
    }

    /// Removes generations with all their rows, and objectives that have none left.
    pub(crate) fn remove_generations(&mut self, is_over: impl Fn(&Generation) -> bool) {
        if !self.objectives.values().flatten().any(&is_over) {
            return;
        }
        for (slo, generations) in &mut self.objectives {
            for over in generations.extract_if(.., |generation| is_over(generation)) {
                self.touched.extend(RowKey::all_of(slo, &over));
            }
        }
        self.objectives.retain(|_, generations| !generations.is_empty());
        self.refresh_readers();
    }

    pub(crate) fn remove_idle_series(&mut self) {
        let touched = &mut self.touched;
        for (agent, checks) in &mut self.series {
            checks.retain(|check, series| {
                let idle = series.assignments.is_empty();
                if idle {
                    touched.insert(RowKey::Series(check.clone(), agent.clone()));
                }
                !idle
            });
        }
        self.series.retain(|_, checks| !checks.is_empty());
    }

    pub(crate) fn refresh_readers(&mut self) {
        self.readers.clear();
        for (slo, generations) in &self.objectives {
            for check in generations.iter().flat_map(|generation| &generation.rule.checks) {
                self.readers.entry(check.clone()).or_default().insert(slo.clone());
            }
        }
    }
}
