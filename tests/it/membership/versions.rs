//! Replicas of two versions: as long as one of them does not know the newer commands, none of these
//! gets into the log. The older one is a peer that says what older programs said, and nothing more.

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use proofmark_aggregator::identity::NodeIdentity;
use proofmark_proto::peer_client::PeerClient;
use proofmark_proto::{PROTOCOL, PeerHello, RaftMessages, peer_dns_name};
use proofmark_tests::api;
use proofmark_tests::installation::{Replica, SETTLE};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Status;
use tonic::codegen::http::Uri;
use tonic::codegen::{Service, tokio_stream};
use tonic::transport::{Channel, Endpoint};

use super::*;

/// The leader looks at its members as often as it lets time pass, and each is at most one entry.
const LOOKS: u64 = 6;

#[test]
fn newer_commands_wait_until_every_replica_knows_them() {
    let mut installation =
        Installation::plan(std::iter::repeat_with(Seat::loopback).take(3).collect());
    installation.lay_out();
    (0..2).for_each(|at| installation.start_replica(at));
    installation.leader();
    is_refused_everywhere(&installation);

    // The third one is heard, and is of an older program.
    let older = OlderProgram::of(&installation.replicas[2]);
    let streams: Vec<_> =
        installation.replicas[..2].iter().map(|replica| older.greet(replica)).collect();
    for replica in &installation.replicas[..2] {
        let heard = replica.data.join("identity/peer-starts.json");
        wait::until("the older one to be heard", SETTLE, || {
            fs::read_to_string(&heard).ok()?.contains("\"3\"").then_some(())
        });
    }
    let before = applied(&installation);
    wait::until("the leader to have looked", SETTLE, || {
        (applied(&installation) >= before + LOOKS).then_some(())
    });
    assert!(streams.iter().all(|stream| !stream.is_finished()), "it is listened to");
    is_refused_everywhere(&installation);

    // It is replaced by today's program: all know the newer commands, and they pass.
    drop(streams);
    drop(older);
    installation.start_replica(2);
    wait::until("the version to be raised", SETTLE, || {
        installation.try_members_verb(&["members"]).status.success().then_some(())
    });
    let token = installation.members_verb(&["invite", "--name", "a4"]);
    assert!(token.starts_with("pmn1."), "{token}");

    // From here on the older program cannot follow, and is told so.
    installation.stop_replica(2);
    let older = OlderProgram::of(&installation.replicas[2]);
    let status = older.turned_away(&installation.replicas[0]);
    let said = "version_too_low: expected a program that knows commands 2, got 1";
    assert_eq!(status.message(), said);
}

/// Each of the operators' newer verbs, at every replica that runs, before anything is changed.
fn is_refused_everywhere(installation: &Installation) {
    let verbs: [&[&str]; 5] = [
        &["members"],
        &["invite", "--name", "a4"],
        &["replace", "a3", "--name", "a4"],
        &["leave", "a3"],
        &["transfer-leader", "--to", "a2"],
    ];
    for verb in verbs {
        let output = installation.try_members_verb(verb);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_named = said.contains("version_too_low") && said.contains("version 2, got 1");
        assert!(is_named && output.status.code() == Some(77), "{verb:?}: {said}");
    }
}

fn applied(installation: &Installation) -> u64 {
    let leader = &installation.replicas[installation.leader()];
    let health = api::json(leader.http, "/api/v1/health");
    health.and_then(|health| health["applied_index"].as_u64()).unwrap_or_default()
}

/// A replica's certificate, and the words of a program that knows commands of version 1 only.
struct OlderProgram {
    runtime: Runtime,
    identity: NodeIdentity,
}

impl OlderProgram {
    fn of(replica: &Replica) -> OlderProgram {
        let identity = NodeIdentity::load(&replica.data.join("identity")).expect("made by init");
        OlderProgram { runtime: Runtime::new().expect("threads"), identity }
    }

    /// Introduces itself and stays, as long as it is listened to and this lives.
    fn greet(&self, to: &Replica) -> JoinHandle<Status> {
        let (tls, to) = (self.identity.peer_client_config().expect("checked"), address(to));
        let frame = RaftMessages { from: Some(self.hello()), messages: Vec::new() };
        self.runtime.spawn(async move {
            let (frames, stream) = mpsc::channel(1);
            frames.send(frame).await.expect("room for one");
            let channel = connect(tls, to).await.expect("it serves");
            let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
            let ended = PeerClient::new(channel).raft(stream).await;
            drop(frames); // it says no more, and does not hang up
            ended.err().unwrap_or_else(|| Status::ok("closed in order"))
        })
    }

    fn turned_away(&self, by: &Replica) -> Status {
        self.runtime.block_on(self.greet(by)).expect("no panic")
    }

    fn hello(&self) -> PeerHello {
        PeerHello {
            protocol: PROTOCOL,
            log_id: self.identity.log_id().0.to_vec().into(),
            node_id: self.identity.node_id,
            version: "0.2.0".to_owned(),
            ..PeerHello::default()
        }
    }
}

/// Its id, and where it listens for its peers.
fn address(replica: &Replica) -> (u64, SocketAddr) {
    let id = replica.name.trim_start_matches('a').parse().expect("a number");
    (id, replica.peers())
}

async fn connect(
    tls: Arc<rustls::ClientConfig>,
    (id, to): (u64, SocketAddr),
) -> io::Result<Channel> {
    let name = ServerName::try_from(peer_dns_name(id)).map_err(io::Error::other)?;
    let stream = TlsConnector::from(tls).connect(name, TcpStream::connect(to).await?).await?;
    let endpoint = Endpoint::from_static("http://peer");
    let channel = endpoint.connect_with_connector(Once(Some(TokioIo::new(stream)))).await;
    channel.map_err(io::Error::other)
}

/// Gives tonic the connection that was made.
struct Once(Option<TokioIo<TlsStream<TcpStream>>>);

impl Service<Uri> for Once {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}
