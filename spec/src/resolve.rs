//! Whether the documents in force fit together: every name that is referred to is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::document::{DocumentKind, Documents};
use crate::fault::{Fault, Faults, Slug};
use crate::limits::DOCUMENTS_MAX;
use crate::sli::RatioMetric;
use crate::slo::{Indicator, Slo};
use crate::written::Written;

impl Documents {
    /// Checks every reference between documents, and that there are not too many of them. Called
    /// with what would be in force, so that a set that does not fit is never applied.
    ///
    /// # Errors
    /// Every reference that leads nowhere, at the place where it was written.
    pub fn resolve(&self) -> Result<(), Faults> {
        let names = self.names().collect();
        let mut resolver = Resolver { documents: self, names, faults: Faults::default() };
        resolver.check_count();
        for sli in &self.slis {
            resolver.check_ratio(&sli.spec, &sli.written, "spec");
        }
        for slo in &self.slos {
            resolver.check_slo(slo);
        }
        let faults = resolver.faults;
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

struct Resolver<'a> {
    documents: &'a Documents,
    names: BTreeSet<(DocumentKind, &'a str)>,
    faults: Faults,
}

impl Resolver<'_> {
    fn check_count(&mut self) {
        let count = self.documents.len();
        if count > DOCUMENTS_MAX {
            let expected = format!("at most {DOCUMENTS_MAX} documents in force");
            self.fault(
                &Written::default(),
                "document",
                Slug::TooLarge,
                expected,
                count.to_string(),
            );
        }
    }

    fn check_slo(&mut self, slo: &Slo) {
        let written = &slo.written;
        self.check_name(DocumentKind::Service, &slo.service, written, "spec.service");
        match &slo.indicator {
            Indicator::Inline(sli) => self.check_ratio(&sli.spec, written, "spec.indicator.spec"),
            Indicator::Ref(name) => {
                self.check_name(DocumentKind::Sli, name, written, "spec.indicatorRef");
            }
        }
    }

    /// Names are looked up in `total`, whose selection is that of the whole ratio.
    fn check_ratio(&mut self, ratio: &RatioMetric, written: &Written, spec: &str) {
        let total = format!("{spec}.ratioMetric.total.metricSource.spec");
        for (index, check) in ratio.checks.iter().enumerate() {
            let path = format!("{total}.checks[{index}]");
            self.check_name(DocumentKind::Check, check, written, &path);
        }
        for (index, agent) in ratio.agents.iter().enumerate() {
            // An agent that runs none of them would be counted as if it had nothing to say.
            if !self.runs_any(agent, &ratio.checks) {
                let path = format!("{total}.agents[{index}]");
                let expected = "an agent that runs one of the checks".to_owned();
                self.fault(written, &path, Slug::Conflict, expected, agent.clone());
            }
        }
    }

    /// A check that is not there is a fault already, and no second one.
    fn runs_any(&self, agent: &str, checks: &[String]) -> bool {
        let runs = |check: &String| {
            self.documents.check(check).is_none_or(|check| check.agents.includes(agent))
        };
        checks.iter().any(runs)
    }

    fn check_name(&mut self, kind: DocumentKind, name: &str, written: &Written, path: &str) {
        if !self.names.contains(&(kind, name)) {
            let expected = format!("{kind}/{name} to be in force");
            let got = "no such document".to_owned();
            self.fault(written, path, Slug::UnknownReference, expected, got);
        }
    }

    fn fault(&mut self, at: &Written, path: &str, slug: Slug, expected: String, got: String) {
        let place = at.place_of(path).or_else(|| at.position());
        let (file, line, column) =
            place.map_or_else(|| (Arc::from("-"), 1, 1), |p| (p.file, p.line, p.column));
        self.faults.push(Fault { file, line, column, path: path.to_owned(), expected, got, slug });
    }
}
