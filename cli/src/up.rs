//! `proofmark up`: aggregator replicas and an agent in one process, over real sockets and TLS.
//!
//! Everything goes the way it goes between hosts: the agent enrols with a one-use token, the
//! starter spec is applied with the operator's credential.

mod layout;
mod starter;

use proofmark_aggregator::clock::Clock;
use proofmark_aggregator::node::{Node, init};
use proofmark_aggregator::views::ViewsReader;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::agent;
use crate::aggregator::{failure, stop};
use crate::args::Up;
use crate::exit::{Done, Exit, Failure};
use crate::limits::FIRST_LEAF_WAIT;
use crate::operator::Access;
use crate::signal::Signals;
use crate::{runtime, telemetry};
use layout::Layout;

pub fn run(up: &Up) -> Done {
    telemetry::init(false);
    let layout = Layout::of(up)?;
    runtime::block_on(serve(layout))
}

async fn serve(layout: Layout) -> Done {
    let mut nodes = Vec::new();
    for config in &layout.replicas {
        nodes.push(start(config).await?);
    }
    first_leaf(&nodes[0].views().clone()).await?;
    let access = Access::open(&layout.operator())?;
    let spec = starter::apply_once(&layout, &access).await?;
    let token = layout.token_if_needed(&access).await?;
    let (stop, stopped) = watch::channel(false);
    let (enrolled, agent_ready) = watch::channel(false);
    let mut agent = JoinSet::new();
    let config = layout.agent(token);
    agent.spawn(async move {
        let ready = move || {
            // Nobody listens any more when the program is ending.
            let _ = enrolled.send(true);
        };
        proofmark_agent::run(config, proofmark_agent::Clock::system(), stopped, ready).await
    });
    let ended_early = wait_for_agent(&mut agent, agent_ready).await;
    let mut signals = Signals::listen();
    if ended_early.is_none() {
        say(&layout, &nodes, &spec);
        signals.next().await;
    }
    signals
        .drain(async {
            // The agent may have ended by itself; then nobody listens and none is needed.
            let _ = stop.send(true);
            let agent_ended = match ended_early {
                Some(ended) => ended,
                None => joined(agent.join_next().await),
            };
            let nodes_ended = stop_all(nodes).await;
            agent_ended.and(nodes_ended).map(|()| Exit::Ok)
        })
        .await
}

/// The last to start is the first to stop: a majority serves while the others drain.
async fn stop_all(nodes: Vec<Node>) -> Result<(), Failure> {
    let mut ended = Ok(());
    for node in nodes.into_iter().rev() {
        ended = ended.and(stop(node).await);
    }
    ended
}

async fn start(config: &proofmark_aggregator::config::Config) -> Result<Node, Failure> {
    Node::start(config, Clock::system()).await.map_err(failure)
}

type Ended = Option<Result<Result<(), proofmark_agent::AgentFault>, tokio::task::JoinError>>;

fn joined(ended: Ended) -> Result<(), Failure> {
    match ended {
        Some(Ok(Ok(()))) | None => Ok(()),
        Some(Ok(Err(fault))) => Err(agent::failure(fault)),
        Some(Err(why)) => Err(Failure::new(Exit::Internal, why.to_string())),
    }
}

/// None once the agent is enrolled; how it ended if it did so before.
async fn wait_for_agent(
    agent: &mut JoinSet<Result<(), proofmark_agent::AgentFault>>,
    mut ready: watch::Receiver<bool>,
) -> Option<Result<(), Failure>> {
    tokio::select! {
        // An error means that the agent ended; the other arm says how.
        Ok(_) = ready.wait_for(|ready| *ready) => None,
        ended = agent.join_next() => Some(joined(ended)),
    }
}

/// The group leads itself and its log has begun.
async fn first_leaf(views: &ViewsReader) -> Result<(), Failure> {
    let mut state = views.state.clone();
    let begun = state.wait_for(|state| state.log_size > 0);
    match tokio::time::timeout(FIRST_LEAF_WAIT, begun).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(Failure::new(Exit::Unavailable, "expected a first leaf within 30 s, got none")),
    }
}

fn say(layout: &Layout, nodes: &[Node], spec: &str) {
    for (config, node) in layout.replicas.iter().zip(nodes) {
        let at = node.addresses();
        println!("replica {}: http={} grpc={} peers={}", config.node, at.http, at.grpc, at.peers);
    }
    println!("data    {}", layout.data.display());
    println!("spec    {spec}");
    println!("open    http://{}", nodes[0].addresses().http);
    println!("verify  proofmark evidence verify {}", layout.replicas[0].evidence_dir().display());
    println!("ready; Ctrl-C drains");
}

/// Makes the directories of replicas that have none yet.
fn init_replicas(layout: &Layout) -> Result<(), Failure> {
    let now_ms = Clock::system().unix_ms();
    for (at, config) in layout.replicas.iter().enumerate() {
        if config.is_initialised() {
            continue;
        }
        let bundle = layout.replicas[0].identity_dir().join(format!("node-{}.bundle", at + 1));
        let bundle = (at > 0).then_some(bundle.as_path());
        init(config, bundle, now_ms).map_err(failure)?;
    }
    Ok(())
}
