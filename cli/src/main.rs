//! `proofmark`: the one binary.
//!
//! In: a command line. Out: text or JSON on standard output, log lines on standard error, and an
//! exit code of the documented table (`proofmark help exit-codes`). This crate parses, asks the
//! library rooms, and prints; it never owns what one of them should.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this program talks to a person")]

mod agent;
mod aggregator;
mod args;
mod check;
mod config;
mod evidence;
mod exit;
mod files;
mod fsck;
mod get;
mod http;
mod limits;
mod operator;
mod runtime;
mod say;
mod signal;
mod telemetry;
mod topics;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{AgentVerb, CheckVerb, Cli, ConfigVerb, TokenVerb, Verb};
use exit::{Done, Exit};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(why) => return wrong_usage(&why),
    };
    // reqwest asks for a process-wide provider; everything of ours names ring itself.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(cli.verb) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("{}", failure.message.trim_end());
            failure.exit.into()
        }
    }
}

fn run(verb: Verb) -> Done {
    match verb {
        Verb::Up(up) => up::run(&up),
        Verb::Aggregator(verb) => aggregator::run(&verb),
        Verb::Agent(AgentVerb::Run { config }) => agent::run(&config),
        Verb::Agent(AgentVerb::Fsck { config, output }) => fsck::agent(&config, output),
        Verb::Agent(AgentVerb::Retire { name, operator }) => operator::retire(&name, &operator),
        Verb::Apply(apply) => operator::apply(&apply),
        Verb::Get(get) => get::run(&get),
        Verb::Evidence(verb) => evidence::run(&verb),
        Verb::Token(TokenVerb::Create { agent, ttl, operator }) => {
            operator::create_token(agent.as_deref(), &ttl, &operator)
        }
        Verb::Check(CheckVerb::Run { file, name, output }) => {
            check::run(&file, name.as_deref(), output)
        }
        Verb::Config(ConfigVerb::Default { program }) => config::print_default(program),
        Verb::Completions { shell } => completions(shell),
        Verb::Help { topic } => topics::print(topic),
    }
}

/// `--help` and `--version` are answers; anything else is the caller's mistake.
fn wrong_usage(why: &clap::Error) -> ExitCode {
    let asked_for = !why.use_stderr();
    // A closed pipe on the other side of help text is not worth a second message.
    let _ = why.print();
    if asked_for { Exit::Ok.into() } else { Exit::Usage.into() }
}

fn completions(shell: clap_complete::Shell) -> Done {
    clap_complete::generate(shell, &mut Cli::command(), "proofmark", &mut std::io::stdout());
    Ok(Exit::Ok)
}
