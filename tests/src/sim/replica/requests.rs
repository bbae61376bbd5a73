//! Who waits for what: commands on their way into the log, and their askers.

use std::collections::{BTreeMap, VecDeque};

use proofmark_aggregator::command::{Command, Reply};
use proofmark_aggregator::consensus::ProposalOutcome;
use proofmark_evidence::{Hash, Header, SealedBatch};

use crate::sim::oracle::batch_id;

/// Who wants to hear what became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Asker {
    /// A duty: it is simply done again.
    Nobody,
    /// A batch of an agent: the connection, and the batch's place on it.
    Stream {
        conn: u64,
        place: u64,
    },
    Operator {
        number: u64,
    },
    /// Another replica, which forwarded it.
    Peer {
        node: usize,
        token: u64,
    },
}

/// A command someone waits for.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Request {
    pub(in crate::sim) asker: Asker,
    pub(in crate::sim) command: Vec<u8>,
    /// The batch in it, if it holds one: for the oracle.
    pub(in crate::sim) batch: Option<Hash>,
}

/// What an asker is told.
pub(in crate::sim) type Answered = (Request, ProposalOutcome);

impl Request {
    pub(in crate::sim) fn new(asker: Asker, command: &Command) -> Self {
        let batch = match command {
            Command::Admit { leaf, payload } => match leaf.header() {
                Ok(Header::Batch(header)) => Some(batch_id(&header, payload)),
                _ => None,
            },
            _ => None,
        };
        Self { asker, command: command.encode(), batch }
    }
}

/// Requests that are proposed, by index; their term decides whether an entry there is theirs.
#[derive(Default)]
pub(super) struct Waiting {
    by_index: BTreeMap<u64, (u64, Vec<Request>)>,
}

impl Waiting {
    pub(super) fn insert(&mut self, index: u64, term: u64, requests: Vec<Request>) {
        self.by_index.insert(index, (term, requests));
    }

    /// Those who waited for this entry, with their replies.
    pub(super) fn applied(
        &mut self,
        index: u64,
        term: u64,
        replies: Vec<Reply>,
        any_term: bool,
    ) -> Vec<Answered> {
        match self.by_index.remove(&index) {
            Some((waiting, requests)) if waiting == term => requests
                .into_iter()
                .zip(replies.into_iter().map(ProposalOutcome::Applied))
                .collect(),
            // Planted: whoever's entry it is, it is committed.
            Some((_, requests)) if any_term => {
                let accepted = || ProposalOutcome::Applied(accepted());
                requests.into_iter().map(|request| (request, accepted())).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Those whose entries are of an older term than the one now led here.
    pub(super) fn lose_before(&mut self, term: u64) -> Vec<Request> {
        let all = std::mem::take(&mut self.by_index);
        let (lost, kept) = all.into_iter().partition(|(_, (t, _))| *t < term);
        self.by_index = kept;
        let lost: BTreeMap<u64, (u64, Vec<Request>)> = lost;
        lost.into_values().flat_map(|(_, requests)| requests).collect()
    }
}

/// Takes the next few of a queue, so that several entries are needed when many wait.
pub(super) fn take_some(queue: &mut VecDeque<Request>, count_max: usize) -> Vec<Request> {
    queue.drain(..queue.len().min(count_max)).collect()
}

/// What a mistaken leader says.
pub(super) fn accepted() -> Reply {
    Reply::Accepted { seq_end: u64::MAX, leaf_index: 0 }
}

/// The same for a batch that a mistaken door throws away.
pub(in crate::sim) fn accepted_up_to(batch: &SealedBatch) -> ProposalOutcome {
    let seq_end = match batch.leaf.header() {
        Ok(Header::Batch(header)) => header.seq_end(),
        _ => 0,
    };
    ProposalOutcome::Applied(Reply::Accepted { seq_end, leaf_index: 0 })
}
