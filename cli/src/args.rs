//! The command line: every verb and flag, with the words that `--help` shows.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Fleet-wide checks with evidence that a stranger can verify offline.
#[derive(Debug, Parser)]
#[command(name = "proofmark", version, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start an aggregator and an agent in one process, checking this very machine
    Up(Up),
    /// The replicated aggregator: make its identity, run it
    #[command(subcommand)]
    Aggregator(AggregatorVerb),
    /// The agent: run it, or end its service
    #[command(subcommand)]
    Agent(AgentVerb),
    /// Apply specs: checks and OpenSLO documents, all of them or none
    Apply(Apply),
    /// Show what the aggregator knows
    Get(Get),
    /// Verify, prove and check evidence; nothing here needs a running aggregator
    #[command(subcommand)]
    Evidence(EvidenceVerb),
    /// Join tokens, with which an agent enrols once
    #[command(subcommand)]
    Token(TokenVerb),
    /// Checks, here and now, without a server
    #[command(subcommand)]
    Check(CheckVerb),
    /// Configuration files
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Print a shell's completion script
    Completions { shell: clap_complete::Shell },
    /// Help on a topic
    Help { topic: Topic },
}

#[derive(Debug, Args)]
pub struct Up {
    /// Where everything is kept
    #[arg(long, default_value = "proofmark-data")]
    pub data: PathBuf,
    /// How many aggregator replicas to run in this process
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub replicas: u8,
    /// Where the page and the HTTP API listen; replica n adds n-1 to the port
    #[arg(long, default_value = "127.0.0.1:7680")]
    pub http: SocketAddr,
    /// Where agents connect (gRPC); replica n adds n-1 to the port
    #[arg(long, default_value = "127.0.0.1:7690")]
    pub grpc: SocketAddr,
    /// Where replicas connect to each other; replica n adds n-1 to the port
    #[arg(long, default_value = "127.0.0.1:7695")]
    pub peers: SocketAddr,
}

#[derive(Debug, Subcommand)]
pub enum AggregatorVerb {
    /// Make a new installation's keys, or take up one replica's bundle; refuses a used directory
    Init {
        #[arg(long)]
        config: PathBuf,
        /// The bundle that the first replica's `init` wrote for this one
        #[arg(long)]
        bundle: Option<PathBuf>,
    },
    /// Run a replica; refuses a directory that neither `init` nor `join` made
    Run {
        #[arg(long)]
        config: PathBuf,
    },
    /// Judge every file of a stopped replica, change nothing
    Fsck {
        #[arg(long)]
        config: PathBuf,
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Let one more replica in: print the token with which it joins, once
    Invite {
        /// A name that no replica of this cluster ever had
        #[arg(long)]
        name: String,
        /// How long the token is good for, e.g. 15m or 24h
        #[arg(long, default_value = "1h")]
        ttl: String,
        #[command(flatten)]
        operator: OperatorAccess,
    },
    /// As `invite`, for a replica that takes another's place (a dead disk): print its token
    Replace {
        /// The voter to be replaced
        old: String,
        /// The new replica: a name that no replica of this cluster ever had
        #[arg(long)]
        name: String,
        /// How long the token is good for, e.g. 15m or 24h
        #[arg(long, default_value = "1h")]
        ttl: String,
        #[command(flatten)]
        operator: OperatorAccess,
    },
    /// Make this directory a replica of a cluster that is there; `run` starts it
    Join {
        #[arg(long)]
        config: PathBuf,
        /// What `invite` or `replace` printed; it is as secret as a replica's keys
        #[arg(long, env = "PROOFMARK_NODE_TOKEN", hide_env_values = true)]
        token: String,
    },
    /// Take a replica out: its vote first, then its place; its process ends by itself
    Leave {
        name: String,
        #[command(flatten)]
        operator: OperatorAccess,
    },
    /// Let another replica lead
    TransferLeader {
        /// The voter that shall lead
        #[arg(long)]
        to: String,
        #[command(flatten)]
        operator: OperatorAccess,
    },
    /// Every replica: its part, who leads, and how many entries of the Raft log each is behind
    Members {
        #[command(flatten)]
        operator: OperatorAccess,
    },
}

#[derive(Debug, Subcommand)]
pub enum AgentVerb {
    /// Run an agent; the first time it enrols with its join token
    Run {
        #[arg(long)]
        config: PathBuf,
    },
    /// Judge every file of a stopped agent, change nothing
    Fsck {
        #[arg(long)]
        config: PathBuf,
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// End an agent's service: nothing more is accepted from its key, nothing more expected
    Retire {
        name: String,
        #[command(flatten)]
        operator: OperatorAccess,
    },
}

#[derive(Debug, Args)]
pub struct Apply {
    /// A file or a directory of YAML files; may be repeated
    #[arg(short = 'f', long = "file", required = true)]
    pub files: Vec<PathBuf>,
    /// Show what would change, change nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub operator: OperatorAccess,
}

/// How an operator reaches the aggregator: its credential, and where to connect.
#[derive(Debug, Args)]
pub struct OperatorAccess {
    /// Data directory of `up`, or of the replica whose `init` made the installation: the operator's
    /// credential lies in it and nowhere else
    #[arg(long, default_value = "proofmark-data", env = "PROOFMARK_DATA")]
    pub data: PathBuf,
    /// gRPC addresses to try, instead of those written beside the credential
    #[arg(long = "address")]
    pub addresses: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Get {
    pub what: What,
    /// A name or a result id, to show one
    pub name: Option<String>,
    /// The HTTP API
    #[arg(long, default_value = "http://127.0.0.1:7680", env = "PROOFMARK_SERVER")]
    pub server: String,
    /// How fresh; without it linearizable, and stale for `health`
    #[arg(long, value_enum)]
    pub consistency: Option<Consistency>,
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Consistency {
    /// Everything acknowledged before the question is in the answer; refused without a majority
    Linearizable,
    /// What the asked replica has, at once; how old that is goes to standard error
    Stale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Objectives: SLI, budget and burn as intervals [worst, best]
    Slo,
    /// The fleet: every enrolled agent
    Agents,
    /// Every check on every agent, with its newest outcome
    Checks,
    /// The latest failures
    Failures,
    /// One result, by its id `agent/epoch/sequence`
    Result,
    /// The newest checkpoint
    Checkpoint,
    /// This replica's health
    Health,
    /// Every replica: its part, who leads; entries behind as the asked one knows it
    Members,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum EvidenceVerb {
    /// Verify a whole log: signatures, roots, sequences, and the served SLO numbers recomputed
    Verify {
        /// A copy of the evidence directory, or the URL of one
        log: String,
        /// Which keys must have signed; without it the log's own policy is used, and said
        #[arg(long)]
        policy: Option<PathBuf>,
        /// Numbers that were served (`get slo -o json`), to be recomputed and compared
        #[arg(long)]
        served: Option<PathBuf>,
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Write the proof of one result, from a log
    Prove {
        /// `agent/epoch/sequence`
        result: String,
        /// The evidence directory, or the URL of one
        #[arg(long, default_value = "http://127.0.0.1:7680/log")]
        log: String,
        /// Where to write; standard output without it
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Check a proof file against a policy, offline
    Check {
        proof: PathBuf,
        #[arg(long)]
        policy: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token: good for one enrolment, until it expires
    Create {
        /// The only name that may enrol with it
        #[arg(long)]
        agent: Option<String>,
        /// How long it is good for, e.g. 15m or 24h
        #[arg(long, default_value = "15m")]
        ttl: String,
        #[command(flatten)]
        operator: OperatorAccess,
    },
}

#[derive(Debug, Subcommand)]
pub enum CheckVerb {
    /// Run the checks of a file once, here
    Run {
        file: PathBuf,
        /// Only this one
        #[arg(long)]
        name: Option<String>,
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Print a commented configuration file to start from
    Default { program: Program },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Program {
    Agent,
    Aggregator,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Topic {
    /// Every way the program ends
    ExitCodes,
    /// Why a check fails or could not tell, with its slug
    Reasons,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
