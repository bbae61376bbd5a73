//! The core's hands in a virtual world: what it begins and orders waits here to be carried away.

use std::collections::VecDeque;
use std::path::Path;

use proofmark_agent::core::Hands;
use proofmark_agent::schedule::Due;
use proofmark_agent::specs::SpecSet;
use proofmark_agent::spool::{FileOps as _, Order, SpoolFault, WriteFault};

use crate::sim::disk::{Disk, SpoolFiles};

pub(in crate::sim) struct VirtualHands {
    pub(super) disk: Disk,
    pub(in crate::sim) started: Vec<Due>,
    pub(in crate::sim) orders: VecDeque<Order>,
}

impl Hands for VirtualHands {
    fn start_run(&mut self, due: Due) {
        self.started.push(due);
    }

    fn cancel_runs(&mut self) {}

    fn order(&mut self, order: Order) -> bool {
        self.orders.push_back(order);
        true
    }

    fn keep_specs(&mut self, specs: &SpecSet) -> Result<(), SpoolFault> {
        let mut files = SpoolFiles::new(&self.disk);
        let (new, path) = (Path::new("/specs.new"), Path::new("/specs"));
        let fault = |fault: WriteFault| match fault {
            WriteFault::Write(error) => SpoolFault::Write { path: "specs".to_owned(), error },
            WriteFault::Sync(error) => SpoolFault::Sync { path: "specs".to_owned(), error },
        };
        files.create(new, specs.to_file_text().as_bytes()).map_err(fault)?;
        // A crash here leaves the older specs; the aggregator sends the new ones again.
        files.rename(new, path).map_err(fault)
    }
}

/// The specs that were kept, if they are whole.
pub(super) fn kept_specs(disk: &Disk) -> Option<SpecSet> {
    let text = String::from_utf8(disk.read("specs").ok()?).ok()?;
    SpecSet::from_file_text(&text)
}
