//! Where the programs' log lines go: standard error, one line an event.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Starts logging. `RUST_LOG` chooses; without it, what an operator wants to read.
pub fn init(json: bool) {
    let chosen = EnvFilter::try_from_default_env();
    let filter = chosen.unwrap_or_else(|_| EnvFilter::new("info,sled=warn"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    let lines = lines.with_span_events(FmtSpan::NONE).with_target(true);
    // A second start in one process is a test's; the first one's lines go on.
    let _ = if json { lines.json().try_init() } else { lines.try_init() };
}
