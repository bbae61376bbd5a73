//! `agent run`: configuration, runtime, agent, drain.

use std::path::Path;

use proofmark_agent::{Clock, Config, LogFormat};
use tokio::sync::watch;

use crate::exit::{Done, Exit, Failure};
use crate::{files, runtime, signal, telemetry};

pub fn run(config: &Path) -> Done {
    let file = files::read(config)?;
    let config = Config::parse(&file.text, &file.name).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Config, lines.join("\n"))
    })?;
    telemetry::init(config.log_format == LogFormat::Json);
    runtime::block_on(serve(config))
}

async fn serve(config: Config) -> Done {
    let (stop, stopped) = watch::channel(false);
    let name = config.name.clone();
    let ready = move || println!("agent {name} ready");
    let agent = proofmark_agent::run(config, Clock::system(), stopped, ready);
    tokio::pin!(agent);
    tokio::select! {
        ended = &mut agent => return ended.map(|()| Exit::Ok).map_err(failure),
        () = signal::shutdown_asked() => {}
    }
    // The agent may have ended by itself a moment ago; then nobody listens and none is needed.
    let _ = stop.send(true);
    agent.await.map(|()| Exit::Ok).map_err(failure)
}

fn failure(fault: proofmark_agent::AgentFault) -> Failure {
    Failure::new(Exit::Storage, fault.to_string())
}
