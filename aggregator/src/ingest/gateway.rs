//! The agents' RPCs: who may call, and the first message of a stream.

use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use proofmark_evidence::{AgentName, Hash, KeyId};
use proofmark_proto as wire;
use wire::agent_gateway_server::AgentGateway;
use wire::{Action, AgentMessage, EnrolReply, EnrolRequest, GatewayMessage, Hello};

use super::counters::Counters;
use super::door::Caller;
use super::refusal::{code_of, refuse, wrong_role};
use super::session::Session;
use super::{AgentDirectory, Handles, Proposer, enrol};
use crate::admission::Standing;
use crate::identity::Role;
use crate::limits::STREAM_ANSWERS_MAX;

pub(super) struct Gateway<P, D> {
    pub(super) handles: Handles<P, D>,
    pub(super) sessions: Arc<Sessions>,
    /// Batches of all streams between receipt and answer.
    pub(super) under_way: Arc<Semaphore>,
    pub(super) shutdown: watch::Receiver<bool>,
}

/// Owns every open stream's task.
#[derive(Default)]
pub(super) struct Sessions {
    tasks: Mutex<JoinSet<()>>,
}

impl Sessions {
    fn spawn(&self, session: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().expect("nothing panics while it holds this lock");
        while tasks.try_join_next().is_some() {}
        tasks.spawn(session);
    }

    /// Waits for all streams to end. They do: the shutdown flag is raised, answers are bounded.
    pub(super) async fn finish(&self) {
        let tasks = self.tasks.lock().map(|mut tasks| std::mem::take(&mut *tasks));
        tasks.expect("nothing panics while it holds this lock").join_all().await;
    }
}

#[tonic::async_trait]
impl<P: Proposer, D: AgentDirectory> AgentGateway for Gateway<P, D> {
    type ConnectStream = ReceiverStream<Result<GatewayMessage, Status>>;

    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolReply>, Status> {
        self.handles.check_serving()?;
        enrol::enrol(&self.handles, request.into_inner()).await.map(Response::new)
    }

    /// Returns after Hello was checked; the stream then lives in its own task, so that a slow
    /// reader holds up nobody's deadline.
    async fn connect(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        self.handles.check_serving()?;
        let counters = &self.handles.counters;
        let agent = certified_agent(counters, role_of(&request))?;
        let mut inbound = request.into_inner();
        let hello = first_message(counters, inbound.message().await?)?;
        let standing = check_hello(&self.handles, &agent, &hello)?;
        tracing::info!(%agent, next_seq = standing.next_seq, "agent connected");
        let (answers, receiver) = mpsc::channel(STREAM_ANSWERS_MAX);
        let session = Session::new(self, agent, answers);
        self.sessions.spawn(session.run(inbound, hello, standing));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// The role TLS proved for this connection.
pub(super) fn role_of<T>(request: &Request<T>) -> Role {
    let caller = request.extensions().get::<Caller>();
    caller.expect("the door gives every connection its caller").role.clone()
}

fn certified_agent(counters: &Counters, role: Role) -> Result<AgentName, Status> {
    match role {
        Role::Agent(agent) => Ok(agent),
        other => Err(wrong_role(counters, "the client certificate of an agent", &other)),
    }
}

fn first_message(counters: &Counters, message: Option<AgentMessage>) -> Result<Hello, Status> {
    use wire::agent_message::Message;
    let got = match message.map(|message| message.message) {
        Some(Some(Message::Hello(hello))) => return Ok(hello),
        Some(Some(Message::Batch(_))) => "a batch",
        Some(Some(Message::Ping(_))) => "a ping",
        Some(None) => "an unknown message",
        None => "the end of the stream",
    };
    Err(refuse(counters, "hello_first", Action::Drop, "Hello as the first message", got))
}

/// The agent of the certificate, its present life, its registered key, a protocol we speak.
fn check_hello<P: Proposer, D: AgentDirectory>(
    handles: &Handles<P, D>,
    agent: &AgentName,
    hello: &Hello,
) -> Result<Standing, Status> {
    let refuse = |slug, action, expected: String, got: String| {
        Err(refuse(&handles.counters, slug, action, expected, got))
    };
    if hello.protocol < wire::PROTOCOL {
        let (expected, got) = (format!("{} or later", wire::PROTOCOL), hello.protocol.to_string());
        return refuse("protocol_version", Action::Stop, expected, got);
    }
    if hello.agent != agent.as_str() {
        let expected = format!("agent {agent} as certified");
        return refuse("wrong_agent", Action::Stop, expected, format!("{:?}", hello.agent));
    }
    let Ok(key_id) = <[u8; 32]>::try_from(&hello.key_id[..]) else {
        let got = format!("{} bytes", hello.key_id.len());
        return refuse("key_id_length", Action::Drop, "32 bytes of key id".to_owned(), got);
    };
    let Some(standing) = handles.agents.find(agent) else {
        // Its certificate is ours, so it has enrolled: this node has not applied that yet.
        let expected = "an agent this node knows".to_owned();
        return refuse("unknown_agent", Action::Retry, expected, agent.to_string());
    };
    match standing.check_identity(agent, hello.epoch, KeyId(Hash(key_id))) {
        Ok(()) => Ok(standing),
        Err(fault) => {
            let refusal = wire::Refusal::from(&fault);
            handles.counters.note(super::counters::Event::Rpc, fault.slug());
            let code = code_of(refusal.action());
            Err(refusal.into_status(code))
        }
    }
}
