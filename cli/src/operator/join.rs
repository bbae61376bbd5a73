//! `aggregator join`: a new replica takes up its part in a cluster that is there already.
//!
//! Keys are made here; the token says which CA answers for the cluster and which log is meant.
//! Everything may be done again after a crash, with the same token.

use std::sync::Arc;
use std::time::Duration;

use proofmark_aggregator::config::Config;
use proofmark_aggregator::identity::{JoinAs, Joining, NodeIdentity};
use proofmark_aggregator::node::{Begun, begin_join, finish_join};
use proofmark_evidence::Hash;
use proofmark_proto::node_gateway_client::NodeGatewayClient;
use proofmark_proto::{JoinNodeReply, JoinNodeRequest, NodeToken};

use super::access::{self, Refused, refused};
use crate::exit::{Done, Exit, Failure};
use crate::limits::{ASK_ROUND_PAUSE, ASK_ROUNDS_MAX, CALL_TIMEOUT};

pub fn join(config: &Config, token: &str) -> Done {
    let token: NodeToken =
        token.parse().map_err(|why| Failure::new(Exit::Usage, format!("--token: {why}")))?;
    check_cluster(config, &token)?;
    let identity = match begin_join(config).map_err(crate::aggregator::failure)? {
        Begun::Keys(joining) => ask(config, &token, *joining)?,
        Begun::Identity(identity) => *identity,
    };
    finish_join(config, &identity).map_err(crate::aggregator::failure)?;
    println!(
        "replica {} of {} has joined as node {} in {}",
        identity.node_name,
        identity.origin,
        identity.node_id,
        config.data_dir.display()
    );
    println!("next: proofmark aggregator run --config FILE; it votes once it has caught up");
    Ok(Exit::Ok)
}

/// Before a key is made: a token of one cluster and a configuration of another.
fn check_cluster(config: &Config, token: &NodeToken) -> Result<(), Failure> {
    if config.origin.log_id() == Hash(token.log_id) {
        return Ok(());
    }
    let expected = format!("a token of the log {}", config.origin);
    let message = format!("wrong_cluster: expected {expected}, got one of another log");
    Err(Failure::new(Exit::Refused, message))
}

fn ask(config: &Config, token: &NodeToken, joining: Joining) -> Result<NodeIdentity, Failure> {
    let storage = |why: &dyn std::fmt::Display| Failure::new(Exit::Storage, why.to_string());
    let own = config.own();
    let join = JoinAs { name: &own.name, grpc: &own.grpc, peers: &own.peers };
    let request = joining.request(token, join).map_err(|why| storage(&why))?;
    let reply = access::now(ask_each(token, &request))?;
    joining.complete(token, join, reply).map_err(|why| storage(&why))
}

/// Asks one address after the other, and all again while somebody says "not now".
async fn ask_each(token: &NodeToken, request: &JoinNodeRequest) -> Result<JoinNodeReply, Failure> {
    let addresses = &token.join.addresses;
    if addresses.is_empty() {
        let message = "--token: expected addresses of the cluster in it, got none";
        return Err(Failure::new(Exit::Usage, message));
    }
    let mut round = 0;
    loop {
        let (mut said, mut is_someone) = (Vec::new(), false);
        for address in addresses {
            match ask_one(address, token, request.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(Refused::Never(failure)) => return Err(failure),
                Err(Refused::NotNow(why)) => {
                    is_someone = true;
                    said.push(format!("{address}: {why}"));
                }
                Err(Refused::NotThere(why)) => said.push(format!("{address}: {why}")),
            }
        }
        if !is_someone || round == ASK_ROUNDS_MAX {
            return Err(Failure::new(Exit::Unavailable, said.join("\n")));
        }
        tokio::time::sleep(ASK_ROUND_PAUSE).await;
        round += 1;
    }
}

async fn ask_one(
    address: &str,
    token: &NodeToken,
    request: JoinNodeRequest,
) -> Result<JoinNodeReply, Refused> {
    let pin = Hash(token.join.ca_sha256);
    let tls = proofmark_agent::pinned_tls(pin).map_err(|why| Refused::NotThere(why.to_string()))?;
    let call = async {
        let channel = proofmark_agent::connect(address, Arc::clone(&tls)).await;
        let channel = channel.map_err(|why| match proofmark_agent::wrong_ca(&why) {
            Some(got) => Refused::Never(Failure::new(
                Exit::Refused,
                format!("{address}: wrong_ca: expected a CA with SHA-256 {pin}, got {got}"),
            )),
            None => Refused::NotThere(why.to_string()),
        })?;
        let mut client = NodeGatewayClient::new(channel);
        client.join_node(request).await.map_err(|status| refused(address, &status))
    };
    let limit: Duration = CALL_TIMEOUT;
    let answer = tokio::time::timeout(limit, call).await;
    let late = || Refused::NotThere(format!("expected an answer within {limit:?}"));
    answer.unwrap_or_else(|_| Err(late())).map(tonic::Response::into_inner)
}
