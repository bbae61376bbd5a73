//! All documents together: what is in force, or what shall be.

use std::collections::BTreeMap;
use std::fmt;

use crate::check::Check;
use crate::envelope::Document;
use crate::service::Service;
use crate::sli::{RatioMetric, Sli};
use crate::slo::{Indicator, Slo};
use crate::written::Written;

/// Valid documents, each kind in the order of its names, a name once per kind. Two sets of files
/// that say the same are equal, however they are split and ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Documents {
    pub checks: Vec<Check>,
    pub services: Vec<Service>,
    pub slis: Vec<Sli>,
    pub slos: Vec<Slo>,
}

/// The kinds, in the order in which they are listed and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentKind {
    Service,
    Sli,
    Slo,
    Check,
}

impl DocumentKind {
    /// As `kind:` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Sli => "SLI",
            Self::Slo => "SLO",
            Self::Check => "Check",
        }
    }
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Documents {
    pub fn len(&self) -> usize {
        self.all().count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Kind and name of every document.
    pub fn names(&self) -> impl Iterator<Item = (DocumentKind, &str)> {
        self.all().map(|(kind, name, _)| (kind, name))
    }

    /// What one agent runs, in the order of names.
    pub fn checks_for<'a>(&'a self, agent: &'a str) -> impl Iterator<Item = &'a Check> {
        self.checks.iter().filter(move |check| check.agents.includes(agent))
    }

    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// The indicator of an objective, inline or referred to. None only before `resolve`.
    pub fn ratio_of<'a>(&'a self, slo: &'a Slo) -> Option<&'a RatioMetric> {
        match &slo.indicator {
            Indicator::Inline(sli) => Some(&sli.spec),
            Indicator::Ref(name) => self.slis.iter().find(|s| s.name == *name).map(|s| &s.spec),
        }
    }

    /// These (in force) with every one of `newer` added, or put in the place of its namesake.
    /// Nothing is ever removed by absence.
    pub fn merge(&self, newer: &Documents) -> Documents {
        Documents {
            checks: upsert(&self.checks, &newer.checks, |check| &check.name),
            services: upsert(&self.services, &newer.services, |service| &service.name),
            slis: upsert(&self.slis, &newer.slis, |sli| &sli.name),
            slos: upsert(&self.slos, &newer.slos, |slo| &slo.name),
        }
    }

    /// One YAML text that parses to an equal value; without comments. Equal documents in equal
    /// words give equal bytes, so it may stand in replicated state.
    pub fn to_yaml(&self) -> String {
        let texts: Vec<String> = self.all().map(|(_, _, written)| written.to_yaml()).collect();
        texts.join("---\n")
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (DocumentKind, &str, &Written)> {
        let services = self.services.iter().map(|d| (DocumentKind::Service, &d.name, &d.written));
        let slis = self.slis.iter().map(|d| (DocumentKind::Sli, &d.name, &d.written));
        let slos = self.slos.iter().map(|d| (DocumentKind::Slo, &d.name, &d.written));
        let checks = self.checks.iter().map(|d| (DocumentKind::Check, &d.name, &d.written));
        let all = services.chain(slis).chain(slos).chain(checks);
        all.map(|(kind, name, written)| (kind, name.as_str(), written))
    }

    pub(crate) fn push(&mut self, document: Document) {
        match document {
            Document::Check(check) => self.checks.push(check),
            Document::Service(service) => self.services.push(service),
            Document::Sli(sli) => self.slis.push(sli),
            Document::Slo(slo) => self.slos.push(slo),
        }
    }

    pub(crate) fn sort(&mut self) {
        self.checks.sort_by(|a, b| a.name.cmp(&b.name));
        self.services.sort_by(|a, b| a.name.cmp(&b.name));
        self.slis.sort_by(|a, b| a.name.cmp(&b.name));
        self.slos.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

fn upsert<T: Clone>(old: &[T], newer: &[T], name: impl Fn(&T) -> &String) -> Vec<T> {
    let by_name: BTreeMap<&String, &T> =
        old.iter().chain(newer).map(|document| (name(document), document)).collect();
    by_name.into_values().cloned().collect()
}
