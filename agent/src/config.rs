//! The agent's config file: YAML in, a valid [`Config`] or every fault at once out.
//!
//! `deploy/agent.yaml` is the manual: it names every key with its default and is parsed by a test.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use proofmark_evidence::AgentName;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use crate::limits;

/// A valid configuration: nothing in it is missing or out of range.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// This agent's name, unique in the fleet.
    pub name: AgentName,
    /// Where keys, spool, specs and baselines lie. Owned by this process alone.
    pub data_dir: PathBuf,
    /// `host:port` of each aggregator; tried in turn.
    pub aggregators: Vec<String>,
    /// Only used while the data directory holds no identity.
    pub join_token: Option<JoinToken>,
    /// Where `GET /healthz` and `GET /metrics` are served, if anywhere.
    pub admin: Option<SocketAddr>,
    /// A batch is sealed at latest this long after its first result.
    pub batch_age_ms_max: u64,
    /// A batch is sealed when it holds this many results.
    pub batch_results_max: usize,
    /// Bytes of results that wait on disk for an aggregator.
    pub spool_bytes_max: u64,
    /// Checks that run at one time.
    pub concurrent_checks_max: usize,
    pub log_format: LogFormat,
}

/// Where the join token is found.
#[derive(Clone, PartialEq, Eq)]
pub enum JoinToken {
    Text(String),
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// One thing wrong with a config file, with everything needed to put it right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    pub file: String,
    /// Line and column, both from 1, where the parser could tell.
    pub position: Option<(u64, u64)>,
    pub slug: &'static str,
    /// The key, as `aggregators[1]`; empty for the whole file.
    pub path: String,
    pub expected: String,
    pub got: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some((line, column)) = self.position {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}: ", self.slug)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "expected {}, got {}", self.expected, self.got)
    }
}

impl Config {
    /// What a file with only these four keys says.
    pub fn with_defaults(
        name: AgentName,
        data_dir: PathBuf,
        aggregators: Vec<String>,
        join_token: Option<JoinToken>,
    ) -> Config {
        Config {
            name,
            data_dir,
            aggregators,
            join_token,
            admin: None,
            batch_age_ms_max: limits::BATCH_AGE_MS.default,
            batch_results_max: whole(limits::BATCH_RESULTS.default),
            spool_bytes_max: limits::SPOOL_BYTES.default,
            concurrent_checks_max: whole(limits::CONCURRENT_CHECKS.default),
            log_format: LogFormat::Text,
        }
    }

    /// Reads the text of a config file; `file` is only its name in messages.
    pub fn parse(text: &str, file: &str) -> Result<Config, Vec<ConfigFault>> {
        match serde_saphyr::from_str::<Spanned<Node>>(text) {
            Err(error) => Err(vec![syntax_fault(&error, file)]),
            Ok(root) => Form::new(root, file).config(),
        }
    }
}

// A token is a secret, so a printed config shows only where it comes from.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinToken::Text(_) => f.write_str("JoinToken::Text(..)"),
            JoinToken::File(path) => write!(f, "JoinToken::File({})", path.display()),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name.as_str())
            .field("data_dir", &self.data_dir)
            .field("aggregators", &self.aggregators)
            .field("join_token", &self.join_token)
            .finish_non_exhaustive()
    }
}

fn syntax_fault(error: &serde_saphyr::Error, file: &str) -> ConfigFault {
    let text = error.without_snippet().to_string();
    let got = text.lines().next().unwrap_or_default().to_string();
    ConfigFault {
        file: file.to_string(),
        position: error.location().and_then(position),
        slug: "syntax",
        path: String::new(),
        expected: "YAML".to_string(),
        got,
    }
}

fn position(location: Location) -> Option<(u64, u64)> {
    (location != Location::UNKNOWN).then(|| (location.line(), location.column()))
}

/// Any YAML value. Reading into this first lets every fault be found, not only the first.
#[derive(Debug)]
enum Node {
    Nothing,
    Scalar(String),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl Node {
    fn described(&self) -> String {
        match self {
            Node::Nothing => "nothing".to_string(),
            Node::Scalar(text) => format!("`{text}`"),
            Node::List(_) => "a list".to_string(),
            Node::Map(_) => "a mapping".to_string(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Node::Map(pairs))
    }
}

/// The file while it is being read: keys not yet asked for, and the faults so far.
struct Form<'a> {
    file: &'a str,
    left: Vec<(Spanned<String>, Spanned<Node>)>,
    faults: Vec<ConfigFault>,
}

const KEYS: &str = "one of name, data_dir, aggregators, join_token, join_token_file, admin, \
     batch_age_ms_max, batch_results_max, spool_bytes_max, concurrent_checks_max, log_format";

impl<'a> Form<'a> {
    fn new(root: Spanned<Node>, file: &'a str) -> Form<'a> {
        let mut form = Form { file, left: Vec::new(), faults: Vec::new() };
        match root.value {
            Node::Map(pairs) => form.left = pairs,
            other => form.fault(root.referenced, "invalid", "", "a mapping", &other.described()),
        }
        form
    }

    /// The one function from raw to valid.
    fn config(mut self) -> Result<Config, Vec<ConfigFault>> {
        let name = self.name();
        let data_dir = self.text("data_dir", "a directory").map(PathBuf::from);
        self.require("data_dir", "a directory", data_dir.is_some());
        let aggregators = self.aggregators();
        let join_token = self.join_token();
        let admin = self.admin();
        let batch_age_ms_max = self.number("batch_age_ms_max", limits::BATCH_AGE_MS);
        let batch_results_max = self.number("batch_results_max", limits::BATCH_RESULTS);
        let spool_bytes_max = self.number("spool_bytes_max", limits::SPOOL_BYTES);
        let concurrent = self.number("concurrent_checks_max", limits::CONCURRENT_CHECKS);
        let log_format = self.log_format();
        self.refuse_the_rest();
        let (Some(name), Some(data_dir), true) = (name, data_dir, self.faults.is_empty()) else {
            self.faults.sort_by_key(|fault| fault.position);
            return Err(self.faults);
        };
        Ok(Config {
            name,
            data_dir,
            aggregators,
            join_token,
            admin,
            batch_age_ms_max,
            batch_results_max: whole(batch_results_max),
            spool_bytes_max,
            concurrent_checks_max: whole(concurrent),
            log_format,
        })
    }

    fn name(&mut self) -> Option<AgentName> {
        const WANT: &str = "a label of a-z, 0-9 and `-`, at most 63 bytes";
        let Some(at) = self.take("name") else {
            self.require("name", WANT, false);
            return None;
        };
        let parsed = match &at.value {
            Node::Scalar(text) => AgentName::parse(text).ok(),
            _ => None,
        };
        if parsed.is_none() {
            self.fault(at.referenced, "invalid", "name", WANT, &at.value.described());
        }
        parsed
    }

    fn aggregators(&mut self) -> Vec<String> {
        const WANT: &str = "a list of at least one host:port";
        let Some(at) = self.take("aggregators") else {
            self.require("aggregators", WANT, false);
            return Vec::new();
        };
        match at.value {
            Node::List(items) if !items.is_empty() => {
                let items = items.into_iter().enumerate();
                items.filter_map(|(index, item)| self.address(index, item)).collect()
            }
            other => {
                self.fault(at.referenced, "invalid", "aggregators", WANT, &other.described());
                Vec::new()
            }
        }
    }

    fn address(&mut self, index: usize, item: Spanned<Node>) -> Option<String> {
        if let Node::Scalar(text) = &item.value
            && is_host_and_port(text)
        {
            return Some(text.clone());
        }
        let path = format!("aggregators[{index}]");
        self.fault(item.referenced, "invalid", &path, "host:port", &item.value.described());
        None
    }

    fn join_token(&mut self) -> Option<JoinToken> {
        let file_at = self.peek("join_token_file").map(|node| node.referenced);
        let text = self.text("join_token", "a join token");
        let file = self.text("join_token_file", "a path");
        match (text, file) {
            (Some(_), Some(_)) => {
                let at = file_at.unwrap_or(Location::UNKNOWN);
                let want = "only one of join_token and join_token_file";
                self.fault(at, "invalid", "join_token_file", want, "both");
                None
            }
            (Some(text), None) => Some(JoinToken::Text(text)),
            (None, file) => file.map(|path| JoinToken::File(PathBuf::from(path))),
        }
    }

    fn admin(&mut self) -> Option<SocketAddr> {
        let at = self.peek("admin")?.referenced;
        let text = self.text("admin", "address:port")?;
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                self.fault(at, "invalid", "admin", "address:port", &format!("`{text}`"));
                None
            }
        }
    }

    fn log_format(&mut self) -> LogFormat {
        let Some(at) = self.take("log_format") else { return LogFormat::Text };
        match &at.value {
            Node::Scalar(text) if text == "text" => LogFormat::Text,
            Node::Scalar(text) if text == "json" => LogFormat::Json,
            other => {
                let got = other.described();
                self.fault(at.referenced, "invalid", "log_format", "text or json", &got);
                LogFormat::Text
            }
        }
    }

    fn number(&mut self, key: &str, range: limits::Range) -> u64 {
        let Some(at) = self.take(key) else { return range.default };
        let parsed = match &at.value {
            Node::Scalar(text) => text.parse().ok().filter(|number| range.holds(*number)),
            _ => None,
        };
        parsed.unwrap_or_else(|| {
            let want = format!("a whole number from {} to {}", range.min, range.max);
            self.fault(at.referenced, "invalid", key, &want, &at.value.described());
            range.default
        })
    }

    fn text(&mut self, key: &str, want: &str) -> Option<String> {
        let at = self.take(key)?;
        match at.value {
            Node::Scalar(text) if !text.is_empty() => Some(text),
            other => {
                self.fault(at.referenced, "invalid", key, want, &other.described());
                None
            }
        }
    }

    fn peek(&self, key: &str) -> Option<&Spanned<Node>> {
        self.left.iter().find(|(name, _)| name.value == key).map(|(_, node)| node)
    }

    fn take(&mut self, key: &str) -> Option<Spanned<Node>> {
        let index = self.left.iter().position(|(name, _)| name.value == key)?;
        Some(self.left.remove(index).1)
    }

    /// Records that a needed key is absent, unless its presence was already found faulty.
    fn require(&mut self, key: &str, want: &str, found: bool) {
        let known = self.faults.iter().any(|fault| fault.path == key || fault.path.is_empty());
        if !found && !known {
            self.fault(Location::UNKNOWN, "missing", key, want, "nothing");
        }
    }

    fn refuse_the_rest(&mut self) {
        for (key, _) in std::mem::take(&mut self.left) {
            self.fault(key.referenced, "unknown_key", &key.value, KEYS, "an unknown key");
        }
    }

    fn fault(&mut self, at: Location, slug: &'static str, path: &str, expected: &str, got: &str) {
        self.faults.push(ConfigFault {
            file: self.file.to_string(),
            position: position(at),
            slug,
            path: path.to_string(),
            expected: expected.to_string(),
            got: got.to_string(),
        });
    }
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = !host.is_empty() && !host.contains(|c: char| c == ':' || c.is_whitespace());
    (bracketed || plain) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_sample_names_every_key_with_its_default() {
        let sample = include_str!("../../deploy/agent.yaml");
        let config = Config::parse(sample, "agent.yaml").expect("the sample is valid");
        assert_eq!(config.batch_age_ms_max, limits::BATCH_AGE_MS.default);
        assert_eq!(config.batch_results_max as u64, limits::BATCH_RESULTS.default);
        assert_eq!(config.spool_bytes_max, limits::SPOOL_BYTES.default);
        assert_eq!(config.concurrent_checks_max as u64, limits::CONCURRENT_CHECKS.default);
        assert_eq!(config.log_format, LogFormat::Text);
        for key in KEYS.trim_start_matches("one of ").split(", ") {
            assert!(sample.contains(&format!("{key}:")), "the sample does not mention {key}");
        }
    }

    #[test]
    fn a_printed_config_never_shows_the_token() {
        let text = "name: a\ndata_dir: d\naggregators: ['h:1']\njoin_token: pm1.secret\n";
        let config = Config::parse(text, "f").expect("valid");
        assert_eq!(config.join_token, Some(JoinToken::Text("pm1.secret".into())));
        assert!(!format!("{config:?}").contains("secret"));
    }

    /// Each `tests/golden/agent-config/*.yaml` is a bad config; the `.txt` beside it holds its
    /// exact messages. `UPDATE=1` rewrites them.
    #[test]
    fn bad_configs_say_exactly_this() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/agent-config");
        let mut seen = 0;
        for entry in std::fs::read_dir(&dir).expect("the golden folder is there") {
            let path = entry.expect("readable").path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                check_golden(&path);
                seen += 1;
            }
        }
        assert!(seen >= 12, "only {seen} bad configs found in {}", dir.display());
    }

    fn check_golden(path: &Path) {
        let text = std::fs::read_to_string(path).expect("readable");
        let file = path.file_name().expect("a file").to_string_lossy();
        let faults = Config::parse(&text, &file).expect_err("every file here is bad");
        let got: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
        let golden = path.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &got).expect("writable");
        }
        let want = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(got, want, "{}", golden.display());
    }
}
