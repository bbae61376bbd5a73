//! `agent run`: configuration, runtime, agent, drain.

use std::path::Path;

use proofmark_agent::identity::IdentityFault;
use proofmark_agent::{AgentFault, Clock, Config, LogFormat};
use tokio::sync::watch;

use crate::exit::{Done, Exit, Failure};
use crate::signal::Signals;
use crate::{files, runtime, telemetry};

/// Reads the configuration, or says every fault of it.
pub fn read(config: &Path) -> Result<Config, Failure> {
    let file = files::read(config)?;
    Config::parse(&file.text, &file.name).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Config, lines.join("\n"))
    })
}

pub fn run(config: &Path) -> Done {
    let config = read(config)?;
    telemetry::init(config.log_format == LogFormat::Json);
    runtime::block_on(serve(config))
}

async fn serve(config: Config) -> Done {
    let mut signals = Signals::listen();
    let (stop, stopped) = watch::channel(false);
    let name = config.name.clone();
    let ready = move || println!("agent {name} ready");
    let agent = proofmark_agent::run(config, Clock::system(), stopped, ready);
    tokio::pin!(agent);
    tokio::select! {
        ended = &mut agent => return ended.map(|()| Exit::Ok).map_err(failure),
        () = signals.next() => {}
    }
    // The agent may have ended by itself a moment ago; then nobody listens and none is needed.
    let _ = stop.send(true);
    let drain = async { agent.await.map(|()| Exit::Ok).map_err(failure) };
    signals.drain(drain).await
}

/// By who must act. Whoever restarts daemons must not do so after 74, 77 and 78: what they stand
/// for does not mend itself.
pub fn failure(fault: AgentFault) -> Failure {
    Failure::new(exit_of(&fault), fault.to_string())
}

fn exit_of(fault: &AgentFault) -> Exit {
    match fault {
        AgentFault::Identity(fault) => exit_of_identity(fault),
        AgentFault::InUse { .. } | AgentFault::DataDir { .. } | AgentFault::Spool(_) => {
            Exit::Storage
        }
        AgentFault::Token { .. } => Exit::Config,
        // Whoever holds the port may let it go.
        AgentFault::Admin { .. } => Exit::Unavailable,
        AgentFault::NotDrained { .. } => Exit::DrainCut,
        AgentFault::PartEnded { .. } | AgentFault::Epoch { .. } => Exit::Internal,
    }
}

fn exit_of_identity(fault: &IdentityFault) -> Exit {
    match fault {
        IdentityFault::Unreachable { .. } | IdentityFault::BadReply { .. } => Exit::Unavailable,
        IdentityFault::Refused { .. } => Exit::Refused,
        // The configuration's addresses, name and token do not belong together, or one is missing.
        IdentityFault::WrongCa { .. }
        | IdentityFault::NoAddress
        | IdentityFault::Missing { .. }
        | IdentityFault::OtherAgent { .. } => Exit::Config,
        IdentityFault::Exposed { .. }
        | IdentityFault::File { .. }
        | IdentityFault::Malformed { .. } => Exit::Storage,
        IdentityFault::Key(_) | IdentityFault::Tls(_) | IdentityFault::Random => Exit::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_ends_by_who_must_act() {
        let check = |fault: AgentFault, expect: u8| {
            assert_eq!(failure(fault).exit.code(), expect);
        };
        let (address, why) = (String::new, || "refused".to_owned());
        let unreachable = IdentityFault::Unreachable { address: address(), why: why() };
        check(unreachable.into(), 69);
        let (slug, expected, got) = ("token_spent".to_owned(), String::new(), String::new());
        check(IdentityFault::Refused { slug, expected, got }.into(), 77);
        check(IdentityFault::NoAddress.into(), 78);
        check(IdentityFault::Exposed { path: "key".into(), mode: 0o644 }.into(), 74);
        check(AgentFault::InUse { path: "data".into() }, 74);
        check(AgentFault::NotDrained { results: 1, batches: 0, instants: 0 }, 75);
        check(AgentFault::PartEnded { part: "spool" }, 70);
    }
}
