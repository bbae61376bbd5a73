//! `aggregator init`, `aggregator run`, and whither the verbs about replicas go.

use std::path::Path;

use proofmark_aggregator::clock::Clock;
use proofmark_aggregator::config::{Config, LogFormat};
use proofmark_aggregator::node::{Node, NodeFault, init};

use crate::args::AggregatorVerb;
use crate::exit::{Done, Exit, Failure};
use crate::operator::{join, members};
use crate::signal::Signals;
use crate::{files, fsck, runtime, telemetry};

pub fn run(verb: &AggregatorVerb) -> Done {
    match verb {
        AggregatorVerb::Init { config, bundle } => initialise(config, bundle.as_deref()),
        AggregatorVerb::Run { config } => serve(config),
        AggregatorVerb::Fsck { config, output } => fsck::aggregator(config, *output),
        AggregatorVerb::Invite { name, ttl, operator } => {
            members::invite(name, None, ttl, operator)
        }
        AggregatorVerb::Replace { old, name, ttl, operator } => {
            members::invite(name, Some(old), ttl, operator)
        }
        AggregatorVerb::Join { config, token } => join::join(&read(config)?, token),
        AggregatorVerb::Leave { name, operator } => members::leave(name, operator),
        AggregatorVerb::TransferLeader { to, operator } => members::transfer_leader(to, operator),
        AggregatorVerb::Members { operator } => members::list(operator),
    }
}

/// Reads the configuration, or says every fault of it.
pub fn read(path: &Path) -> Result<Config, Failure> {
    let file = files::read(path)?;
    Config::parse(&file.text, &file.name)
        .map_err(|faults| Failure::new(Exit::Config, faults.to_lines().join("\n")))
}

fn initialise(config: &Path, bundle: Option<&Path>) -> Done {
    let config = read(config)?;
    let identity = init(&config, bundle, Clock::system().unix_ms()).map_err(failure)?;
    println!(
        "replica {} of {} is initialised in {}",
        identity.node_name,
        identity.origin,
        config.data_dir.display()
    );
    if bundle.is_none() {
        for node in identity.nodes.iter().filter(|node| node.id != identity.node_id) {
            let bundle = config.identity_dir().join(format!("node-{}.bundle", node.id));
            println!(
                "for {}: {} (holds secrets; delete it after its `init`)",
                node.name,
                bundle.display()
            );
        }
    }
    Ok(Exit::Ok)
}

fn serve(config: &Path) -> Done {
    let config = read(config)?;
    telemetry::init(config.log_format == LogFormat::Json);
    runtime::block_on(async {
        let node = Node::start(&config, Clock::system()).await.map_err(failure)?;
        let addresses = node.addresses();
        println!(
            "listening http={} grpc={} peers={}",
            addresses.http, addresses.grpc, addresses.peers
        );
        println!("aggregator {} ready", config.node);
        let mut signals = Signals::listen();
        tokio::select! {
            () = signals.next() => {}
            // Nothing that was acknowledged hangs on this replica: its peers go on without it.
            why = node.refused() => {
                stop(node).await?;
                return Err(Failure::new(Exit::Refused, format!("a peer said: {why}")));
            }
        }
        signals.drain(async { stop(node).await.map(|()| Exit::Ok) }).await
    })
}

pub async fn stop(node: Node) -> Result<(), Failure> {
    node.stop().await.map_err(Failure::because(Exit::DrainCut))
}

/// What stops a start is the operator's to mend: a directory, a file. A taken port may be free in a
/// moment (an older process still ends, an interface comes up), so that trying again is right.
pub fn failure(fault: NodeFault) -> Failure {
    let exit = match fault {
        NodeFault::Listen { .. } => Exit::Unavailable,
        _ => Exit::Storage,
    };
    Failure::new(exit, fault.to_string())
}
