//! Whether the documents in force fit together: every name that is referred to is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::document::Documents;
use crate::fault::{Fault, Faults, Slug};
use crate::limits::DOCUMENTS_MAX;
use crate::sli::RatioMetric;
use crate::slo::Indicator;
use crate::written::Written;

impl Documents {
    /// Checks every reference between documents, and that there are not too many of them. Called
    /// with what would be in force, so that a set that does not fit is never applied.
    ///
    /// # Errors
    /// Every reference that leads nowhere, at the place where it was written.
    pub fn resolve(&self) -> Result<(), Faults> {
        let mut faults = Faults::default();
        self.resolve_count(&mut faults);
        for sli in &self.slis {
            self.resolve_ratio(&sli.spec, (&sli.written, "spec"), &mut faults);
        }
        for slo in &self.slos {
            let services: BTreeSet<&str> = self.services.iter().map(|s| s.name.as_str()).collect();
            let at = (&slo.written, "spec.service");
            resolve_name(&slo.service, "Service", &services, at, &mut faults);
            match &slo.indicator {
                Indicator::Inline(sli) => {
                    let at = (&slo.written, "spec.indicator.spec");
                    self.resolve_ratio(&sli.spec, at, &mut faults);
                }
                Indicator::Ref(name) => {
                    let slis: BTreeSet<&str> = self.slis.iter().map(|s| s.name.as_str()).collect();
                    let at = (&slo.written, "spec.indicatorRef");
                    resolve_name(name, "SLI", &slis, at, &mut faults);
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn resolve_count(&self, faults: &mut Faults) {
        if self.len() > DOCUMENTS_MAX {
            let expected = format!("at most {DOCUMENTS_MAX} documents in force");
            let last = self.all().last().map(|(_, _, written)| written.clone());
            let at = (&last.unwrap_or_default(), "document");
            faults.push(fault_at(at, Slug::TooLarge, expected, self.len().to_string()));
        }
    }

    /// Names are looked up in `total`, whose selection is that of the whole ratio.
    fn resolve_ratio(&self, ratio: &RatioMetric, at: (&Written, &str), faults: &mut Faults) {
        let (written, spec) = at;
        let total = format!("{spec}.ratioMetric.total.metricSource.spec");
        let checks: BTreeSet<&str> = self.checks.iter().map(|c| c.name.as_str()).collect();
        for (index, name) in ratio.checks.iter().enumerate() {
            let path = format!("{total}.checks[{index}]");
            resolve_name(name, "Check", &checks, (written, &path), faults);
        }
        for (index, agent) in ratio.agents.iter().enumerate() {
            let runs = |name: &String| self.check(name).is_none_or(|c| c.agents.includes(agent));
            if ratio.checks.iter().any(runs) {
                continue;
            }
            // It would never be expected to say anything, and the objective would look whole.
            let path = format!("{total}.agents[{index}]");
            let expected = "an agent that runs one of the checks".to_owned();
            let fault = fault_at((written, &path), Slug::Conflict, expected, agent.clone());
            faults.push(fault);
        }
    }
}

fn resolve_name(
    name: &str,
    kind: &str,
    known: &BTreeSet<&str>,
    at: (&Written, &str),
    faults: &mut Faults,
) {
    if !known.contains(name) {
        let expected = format!("the name of a {kind} in force");
        faults.push(fault_at(at, Slug::UnknownReference, expected, name.to_owned()));
    }
}

fn fault_at(at: (&Written, &str), slug: Slug, expected: String, got: String) -> Fault {
    let (written, path) = at;
    let place = written.place_of(path).or_else(|| written.position());
    let (file, line, column) =
        place.map_or_else(|| (Arc::from("-"), 1, 1), |p| (p.file, p.line, p.column));
    Fault { file, line, column, path: path.to_owned(), expected, got, slug }
}
