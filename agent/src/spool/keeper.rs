//! The thread that owns the spool: disks may stall, the event loop must not.
//!
//! Orders are carried out one after the other, and each gives exactly one report.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use proofmark_evidence::SealedBatch;
use tokio::sync::mpsc;

use super::{Damage, FileOps, Record, Spool, SpoolFault};
use crate::limits::SPOOL_ORDERS_MAX;

/// What the event loop asks for.
#[derive(Debug)]
pub enum Order {
    /// Make this durable. Keep one outstanding: batches are a chain.
    Append(Record),
    /// The batch that holds `seq`, or else the first after it.
    Fetch { epoch: u64, seq: u64 },
    /// Everything of `epoch` below `seq_end` was accepted.
    Acked { epoch: u64, seq_end: u64 },
    /// Make `seq` the number of the next batch; see [`Spool::rejoin`].
    Rejoin { epoch: u64, seq: u64 },
}

/// What came of it.
#[derive(Debug)]
pub enum Report {
    /// Durable. `bytes` is the size of the spool now.
    Appended {
        seq_end: u64,
        bytes: u64,
    },
    /// Not durable; the record comes back so that the same bytes can be tried again.
    NotAppended {
        record: Record,
        fault: SpoolFault,
    },
    Fetched(Option<SealedBatch>),
    /// What was acknowledged and could be deleted is. `bytes` is the size of the spool now.
    Trimmed {
        bytes: u64,
    },
    Rejoined(Damage),
    /// The spool cannot go on in this process.
    Broken(SpoolFault),
}

/// A handle on the thread. Dropping it ends the thread after the orders already given.
#[derive(Debug)]
pub struct Keeper {
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread. Reports come out of the returned receiver.
    pub fn start<F: FileOps>(spool: Spool<F>) -> (Keeper, mpsc::Receiver<Report>) {
        let (orders, inbox) = sync_channel(SPOOL_ORDERS_MAX);
        let (outbox, reports) = mpsc::channel(SPOOL_ORDERS_MAX);
        let work = move || keep(spool, &inbox, &outbox);
        let thread = std::thread::Builder::new().name("spool".to_string()).spawn(work);
        // Without a thread the inbox is gone, and the first order reports it.
        (Keeper { orders: Some(orders), thread: thread.ok() }, reports)
    }

    /// Gives an order. False when the thread is gone or more orders are outstanding than the
    /// protocol allows, neither of which leaves a spool to work with.
    #[must_use]
    pub fn order(&self, order: Order) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.try_send(order).is_ok())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was reported by its missing reports.
            let _ = thread.join();
        }
    }
}

fn keep<F: FileOps>(mut spool: Spool<F>, inbox: &Receiver<Order>, outbox: &mpsc::Sender<Report>) {
    while let Ok(order) = inbox.recv() {
        if outbox.blocking_send(carry_out(&mut spool, order)).is_err() {
            return;
        }
    }
}

/// Carries out one order; what the thread does with each.
pub fn carry_out<F: FileOps>(spool: &mut Spool<F>, order: Order) -> Report {
    let done = match order {
        Order::Append(record) => return append(spool, record),
        Order::Fetch { epoch, seq } => spool.fetch(epoch, seq).map(Report::Fetched),
        Order::Acked { epoch, seq_end } => {
            spool.acked(epoch, seq_end).map(|()| Report::Trimmed { bytes: spool.bytes() })
        }
        Order::Rejoin { epoch, seq } => spool.rejoin(epoch, seq).map(Report::Rejoined),
    };
    done.unwrap_or_else(Report::Broken)
}

fn append<F: FileOps>(spool: &mut Spool<F>, record: Record) -> Report {
    match spool.append(&record) {
        Ok(()) => Report::Appended { seq_end: record.seq_end, bytes: spool.bytes() },
        Err(fault) if fault.may_pass() => Report::NotAppended { record, fault },
        Err(fault) => Report::Broken(fault),
    }
}
