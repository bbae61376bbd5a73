//! Reads that wait for their index: one question at a time for all who wait.

use super::ReadRefused;
use super::driver::{Driver, Read};
use super::inbox::ReadReply;
use super::storage::LogSource;
use crate::limits::{READ_RETRY_TICKS, READS_WAITING_MAX};

/// Owned by the raft thread.
#[derive(Default)]
pub(crate) struct Reads {
    /// Who came since the last question was asked: its answer may be older than they are.
    waiting: Vec<ReadReply>,
    asked: Option<Asked>,
    token: u64,
}

struct Asked {
    /// Asked under this name first, and under every later one since: each answer is as of an
    /// instant after these readers came, so a machine on which each takes long still comes to an
    /// end.
    token: u64,
    /// Since it was asked last.
    ticks: u64,
    readers: Vec<ReadReply>,
}

impl Reads {
    pub(crate) fn push(&mut self, readers: Vec<ReadReply>) {
        for reader in readers {
            if self.waiting.len() < READS_WAITING_MAX {
                self.waiting.push(reader);
            } else {
                // A reader that no longer listens is no fault.
                let _ = reader.send(Err(ReadRefused::Busy));
            }
        }
    }

    /// Nobody asks for those who no longer listen.
    pub(crate) fn tick(&mut self) {
        let Some(asked) = &mut self.asked else { return };
        asked.ticks += 1;
        asked.readers.retain(|reader| !reader.is_closed());
        if asked.readers.is_empty() {
            self.asked = None;
        }
    }

    /// Asks, unless a question is under way or nobody waits. One that stays without an answer is
    /// asked again, under another name.
    pub(crate) fn ask<S: LogSource>(&mut self, driver: &mut Driver<S>) {
        match &mut self.asked {
            Some(asked) if asked.ticks < READ_RETRY_TICKS => return,
            Some(asked) => asked.ticks = 0,
            None if self.waiting.is_empty() => return,
            None => {
                let readers = std::mem::take(&mut self.waiting);
                self.asked = Some(Asked { token: self.token + 1, ticks: 0, readers });
            }
        }
        self.token += 1;
        driver.read_index(self.token);
    }

    pub(crate) fn answer(&mut self, reads: &[Read]) {
        for read in reads {
            let newest = self.token;
            let answers = |asked: &mut Asked| (asked.token..=newest).contains(&read.token);
            if let Some(asked) = self.asked.take_if(answers) {
                for reader in asked.readers {
                    // A reader that no longer listens is no fault.
                    let _ = reader.send(Ok(read.index));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::driver::DriverConfig;
    use crate::consensus::membership::Membership;
    use crate::consensus::storage::{LogUnreadable, RecoveredLog};
    use raft::eraftpb::Entry;
    use tokio::sync::oneshot;

    struct Nothing;

    impl LogSource for Nothing {
        fn fetch(&self, low: u64, high: u64, _: u64) -> Result<Vec<Entry>, LogUnreadable> {
            Err(LogUnreadable { low, high, cause: "empty".to_owned(), is_gone: false })
        }
    }

    fn driver() -> Driver<Nothing> {
        let membership = Membership::of_voters([1, 2]);
        let config =
            DriverConfig { node_id: 1, applied: 0, membership, jitter_seed: 7, tail_bytes_max: 0 };
        Driver::new(&config, Nothing, RecoveredLog::default()).unwrap()
    }

    #[test]
    fn who_comes_later_waits_for_the_next_question() {
        let (mut reads, mut driver) = (Reads::default(), driver());
        let (early, mut early_index) = oneshot::channel();
        let (late, mut late_index) = oneshot::channel();
        reads.push(vec![early]);
        reads.ask(&mut driver);
        reads.push(vec![late]);
        reads.ask(&mut driver);
        reads.answer(&[Read { token: 1, index: 40 }]);
        assert_eq!(early_index.try_recv(), Ok(Ok(40)));
        assert!(late_index.try_recv().is_err());
        reads.ask(&mut driver);
        reads.answer(&[Read { token: 2, index: 41 }]);
        assert_eq!(late_index.try_recv(), Ok(Ok(41)));
    }

    #[test]
    fn a_lost_question_is_asked_again_and_a_late_answer_is_one() {
        let check = |answered: u64| {
            let (mut reads, mut driver) = (Reads::default(), driver());
            let (early, mut early_index) = oneshot::channel();
            let (late, mut late_index) = oneshot::channel();
            reads.push(vec![early]);
            reads.ask(&mut driver);
            reads.push(vec![late]);
            // Each answer takes longer than the patience for one.
            for _ in 0..READ_RETRY_TICKS * 3 {
                reads.tick();
                reads.ask(&mut driver);
            }
            reads.answer(&[Read { token: answered, index: 40 }]);
            assert_eq!(early_index.try_recv(), Ok(Ok(40)), "question {answered} of 4");
            reads.ask(&mut driver);
            // What was asked before the second came says nothing to it.
            reads.answer(&[Read { token: 4, index: 41 }]);
            assert!(late_index.try_recv().is_err());
            reads.answer(&[Read { token: 5, index: 42 }]);
            assert_eq!(late_index.try_recv(), Ok(Ok(42)));
        };
        (1..=4).for_each(check);
    }

    #[test]
    fn nobody_is_asked_for_who_went_away() {
        let (mut reads, mut driver) = (Reads::default(), driver());
        let (gone, index) = oneshot::channel();
        reads.push(vec![gone]);
        reads.ask(&mut driver);
        drop(index);
        reads.tick();
        let (reader, mut index) = oneshot::channel();
        reads.push(vec![reader]);
        reads.ask(&mut driver);
        reads.answer(&[Read { token: 1, index: 40 }]);
        assert!(index.try_recv().is_err(), "asked for another");
        reads.answer(&[Read { token: 2, index: 41 }]);
        assert_eq!(index.try_recv(), Ok(Ok(41)));
    }
}
