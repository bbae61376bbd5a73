//! Pieces for a replica that catches up, over the wire: `Peer.Fetch`, both sides.
//!
//! The serving side keeps to its rate and serves few at a time, so that a follower that fetches
//! gigabytes takes neither the network nor the disk from the majority's work.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proofmark_evidence::LogFile;
use proofmark_proto::peer_client::PeerClient;
use proofmark_proto::{
    FetchCheckpoint, FetchLogPiece, FetchReply, FetchRequest, FetchSnapshotChunk,
    FetchSnapshotHead, FetchTransitions, PeerHello, fetch_request,
};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::catchup::{Answer, Ask, Missed, Piece, Shelf, TokenBucket, Unavailable};
use crate::clock::Clock;
use crate::limits::{FETCH_TIMEOUT_MS, FETCHES_SERVED_MAX, FETCHES_UNDER_WAY_MAX};

/// A piece that is wanted of a peer, and who waits for it.
pub(crate) struct FetchJob {
    pub(crate) ask: Ask,
    pub(crate) answer: Answer,
}

/// Serves pieces of what lies on the shelf, at its rate. Clones share it.
#[derive(Clone)]
pub struct FetchDesk {
    shelf: Shelf,
    places: Arc<Semaphore>,
    bucket: Arc<Mutex<TokenBucket>>,
    clock: Clock,
}

impl FetchDesk {
    /// `bytes_per_second`: of all peers together.
    pub fn new(shelf: Shelf, bytes_per_second: u64, clock: Clock) -> FetchDesk {
        let bucket = TokenBucket::new(bytes_per_second, clock.monotonic_ms());
        let bucket = Arc::new(Mutex::new(bucket));
        FetchDesk { shelf, places: Arc::new(Semaphore::new(FETCHES_SERVED_MAX)), bucket, clock }
    }

    /// Reads the piece, then waits for its turn.
    pub(super) async fn serve(&self, request: &FetchRequest) -> Result<FetchReply, Status> {
        let ask = ask_of(request)?;
        let _place = self.places.try_acquire().map_err(|_| {
            let limit = FETCHES_SERVED_MAX;
            Status::resource_exhausted(format!("fetch_busy: expected at most {limit} at once"))
        })?;
        let shelf = self.shelf.clone();
        let read = tokio::task::spawn_blocking(move || shelf.piece(&ask)).await;
        let piece = read.map_err(|why| Status::internal(why.to_string()))?;
        let piece = piece.map_err(|why| match why {
            Unavailable::Gone { .. } => Status::not_found(why.to_string()),
            Unavailable::Damaged(_) => {
                tracing::error!(%why, "a peer asked for what is damaged here");
                Status::data_loss(why.to_string())
            }
        })?;
        let wait_ms = self
            .bucket
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(piece.bytes.len(), self.clock.monotonic_ms());
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        Ok(FetchReply { bytes: piece.bytes, total: piece.total })
    }
}

/// Asks one peer for what is wanted of it, some pieces at once, while the connection lasts. Whoever
/// waits for a piece under way when it ends is told that it is lost.
pub(super) async fn fetch_pieces(
    hello: &PeerHello,
    client: PeerClient<Channel>,
    queue: &mut mpsc::Receiver<FetchJob>,
) {
    let mut under_way = JoinSet::new();
    while let Some(FetchJob { ask, answer }) = queue.recv().await {
        let request = request_of(hello.clone(), &ask);
        let mut client = client.clone();
        under_way.spawn(async move {
            let mut request = tonic::Request::new(request);
            request.set_timeout(Duration::from_millis(FETCH_TIMEOUT_MS));
            answer.send(match client.fetch(request).await {
                Ok(reply) => {
                    let FetchReply { bytes, total } = reply.into_inner();
                    Ok(Piece { bytes, total })
                }
                Err(status) => Err(missed(&status)),
            });
        });
        while under_way.try_join_next().is_some() {}
        while under_way.len() >= FETCHES_UNDER_WAY_MAX {
            under_way.join_next().await;
        }
    }
}

fn missed(status: &Status) -> Missed {
    tracing::debug!(%status, "a piece was not had");
    match status.code() {
        Code::NotFound | Code::DataLoss | Code::Unimplemented => Missed::Gone,
        Code::ResourceExhausted => Missed::Busy,
        _ => Missed::Lost,
    }
}

fn request_of(from: PeerHello, ask: &Ask) -> FetchRequest {
    use fetch_request::Ask as Wire;
    let ask = match *ask {
        Ask::Checkpoint => Wire::Checkpoint(FetchCheckpoint {}),
        Ask::Transitions { at } => Wire::Transitions(FetchTransitions { at }),
        Ask::SnapshotHead { index } => Wire::SnapshotHead(FetchSnapshotHead { index }),
        Ask::SnapshotChunk { index, number } => {
            Wire::SnapshotChunk(FetchSnapshotChunk { index, number })
        }
        Ask::LogPiece { file, at } => Wire::LogPiece(FetchLogPiece { path: file.path(), at }),
    };
    FetchRequest { from: Some(from), ask: Some(ask) }
}

/// A request as this program would make it, of what it understands of one. For tests of foreign
/// bytes.
///
/// # Errors
/// It asks for nothing that this program knows.
pub fn reread_ask(request: &FetchRequest) -> Result<FetchRequest, Status> {
    let from = request.from.clone().unwrap_or_default();
    ask_of(request).map(|ask| request_of(from, &ask))
}

fn ask_of(request: &FetchRequest) -> Result<Ask, Status> {
    use fetch_request::Ask as Wire;
    let none = || Status::invalid_argument("fetch_ask: expected something this program knows");
    Ok(match request.ask.as_ref().ok_or_else(none)? {
        Wire::Checkpoint(FetchCheckpoint {}) => Ask::Checkpoint,
        Wire::Transitions(FetchTransitions { at }) => Ask::Transitions { at: *at },
        Wire::SnapshotHead(FetchSnapshotHead { index }) => Ask::SnapshotHead { index: *index },
        Wire::SnapshotChunk(FetchSnapshotChunk { index, number }) => {
            Ask::SnapshotChunk { index: *index, number: *number }
        }
        Wire::LogPiece(FetchLogPiece { path, at }) => {
            let unknown = || Status::invalid_argument("fetch_path: expected a file of a log");
            Ask::LogPiece { file: LogFile::parse(path).ok_or_else(unknown)?, at: *at }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ask_arrives_as_it_was_sent() {
        for ask in [
            Ask::Checkpoint,
            Ask::Transitions { at: 7 },
            Ask::SnapshotHead { index: 9 },
            Ask::SnapshotChunk { index: 9, number: 3 },
            Ask::LogPiece { file: LogFile::Tile { level: 1, index: 2, width: 3 }, at: 0 },
            Ask::LogPiece { file: LogFile::Payload { index: 1_234 }, at: 1 << 20 },
        ] {
            assert_eq!(ask_of(&request_of(PeerHello::default(), &ask)).unwrap(), ask);
        }
    }

    #[test]
    fn what_is_no_file_of_a_log_is_not_looked_for() {
        let refused = |path: &str| {
            let ask = FetchLogPiece { path: path.to_owned(), at: 0 };
            let ask = Some(fetch_request::Ask::LogPiece(ask));
            ask_of(&FetchRequest { from: None, ask }).unwrap_err().code()
        };
        for path in ["", "policy", "../identity/log.key", "/etc/passwd", "payload/../000", "tmp/0"]
        {
            assert_eq!(refused(path), Code::InvalidArgument, "{path}");
        }
        assert_eq!(ask_of(&FetchRequest::default()).unwrap_err().code(), Code::InvalidArgument);
    }
}
