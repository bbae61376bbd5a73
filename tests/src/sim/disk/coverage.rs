//! Which fault hit where, and where none did.

use super::site::{Class, Fault, Op, Site};

const CLASSES: usize = Class::ALL.len();
const OPS: usize = Op::ALL.len();
const FAULTS: usize = Fault::ALL.len();

/// Counts of one run, or of many added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    visits: [[u64; OPS]; CLASSES],
    hits: [[[u64; FAULTS]; OPS]; CLASSES],
}

impl Default for Coverage {
    fn default() -> Self {
        Self { visits: [[0; OPS]; CLASSES], hits: [[[0; FAULTS]; OPS]; CLASSES] }
    }
}

impl Coverage {
    pub(super) fn visit(&mut self, site: Site) {
        self.visits[site.class as usize][site.op as usize] += 1;
    }

    pub(super) fn hit(&mut self, site: Site, fault: Fault) {
        self.hits[site.class as usize][site.op as usize][fault as usize] += 1;
    }

    pub fn hits(&self, site: Site, fault: Fault) -> u64 {
        self.hits[site.class as usize][site.op as usize][fault as usize]
    }

    pub fn total(&self, fault: Fault) -> u64 {
        sites().map(|site| self.hits(site, fault)).sum()
    }

    /// Sites that were come by at least once.
    pub fn visited(&self) -> Vec<Site> {
        sites().filter(|site| self.visits[site.class as usize][site.op as usize] > 0).collect()
    }

    pub fn add(&mut self, other: &Coverage) {
        for site in sites() {
            let (class, op) = (site.class as usize, site.op as usize);
            self.visits[class][op] += other.visits[class][op];
            for fault in Fault::ALL {
                self.hits[class][op][fault as usize] += other.hits(site, fault);
            }
        }
    }

    /// A line for each site that was come by: its faults with their counts; `-` where a fault is
    /// possible and never hit.
    pub fn lines(&self) -> Vec<String> {
        let line = |site: Site| {
            let faults = site.op.faults().iter().map(|fault| match self.hits(site, *fault) {
                0 => format!("{} -", fault.slug()),
                count => format!("{} {count}", fault.slug()),
            });
            let visits = self.visits[site.class as usize][site.op as usize];
            let faults: Vec<String> = faults.collect();
            format!("{:<26} {visits:>10}  {}", site.to_string(), faults.join("  "))
        };
        self.visited().into_iter().map(line).collect()
    }

    /// What was come by and could have failed in a way that it never did.
    pub fn blanks(&self) -> Vec<String> {
        let blank = |site: Site| {
            let faults = site.op.faults().iter();
            let never = faults.filter(move |fault| self.hits(site, **fault) == 0);
            never.map(move |fault| format!("{site} × {}", fault.slug()))
        };
        self.visited().into_iter().flat_map(blank).collect()
    }
}

fn sites() -> impl Iterator<Item = Site> {
    Class::ALL.into_iter().flat_map(|class| Op::ALL.into_iter().map(move |op| Site { class, op }))
}
