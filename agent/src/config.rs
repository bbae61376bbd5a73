//! The agent's config file: YAML in, a valid [`Config`] or every fault at once out.
//!
//! `deploy/agent.yaml` is the manual: it names every key with its default and is parsed by a test.
//! Files are read as specs are, so their faults have the same form and the same slugs.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use proofmark_evidence::AgentName;
use proofmark_spec::Faults;
use proofmark_spec::form::{Fields, Slug, Value, read_one};

use crate::{identity, limits};

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
    ///
    /// # Errors
    /// Every fault of the file, each with its line and column.
    pub fn parse(text: &str, file: &str) -> Result<Config, Faults> {
        read_one(file, text, Config::read)
    }

    /// The one function from what is written to what is valid.
    fn read(value: &Value<'_>) -> Option<Config> {
        let mut fields = value.fields()?;
        let name = fields.need("name", Value::name);
        let data_dir = fields.need("data_dir", Value::path);
        let aggregators = fields.need("aggregators", read_aggregators);
        let join_token = read_join_token(&mut fields);
        let admin = fields.maybe("admin", read_socket_address);
        let batch_age_ms_max = read_number(&mut fields, "batch_age_ms_max", limits::BATCH_AGE_MS);
        let batch_results_max =
            read_number(&mut fields, "batch_results_max", limits::BATCH_RESULTS);
        let spool_bytes_max = read_number(&mut fields, "spool_bytes_max", limits::SPOOL_BYTES);
        let concurrent_checks_max =
            read_number(&mut fields, "concurrent_checks_max", limits::CONCURRENT_CHECKS);
        let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        let log_format = fields.or("log_format", LogFormat::Text, |value| value.choice(&words));
        fields.finish();
        Some(Config {
            name: AgentName::parse(&name?).expect("names of specs are labels as well"),
            data_dir: data_dir?.into(),
            aggregators: aggregators?,
            join_token: join_token?,
            admin: admin?,
            batch_age_ms_max: batch_age_ms_max?,
            batch_results_max: whole(batch_results_max?),
            spool_bytes_max: spool_bytes_max?,
            concurrent_checks_max: whole(concurrent_checks_max?),
            log_format: log_format?,
        })
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

fn read_aggregators(value: &Value<'_>) -> Option<Vec<String>> {
    let addresses = value.list_of(Value::host_port)?;
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    if addresses.is_empty() {
        return value.fault(Slug::OutOfRange, "at least one address", "an empty list");
    }
    value.check_unique(&addresses)?;
    Some(addresses)
}

fn read_join_token(fields: &mut Fields<'_>) -> Option<Option<JoinToken>> {
    let text = fields.maybe("join_token", read_token_text);
    let file = fields.maybe("join_token_file", Value::path);
    if fields.has("join_token") && fields.has("join_token_file") {
        let expected = "at most one of join_token, join_token_file";
        return fields.fault(Slug::Conflict, expected, "both");
    }
    let text = text?.map(JoinToken::Text);
    let file = file?.map(|path| JoinToken::File(path.into()));
    Some(text.or(file))
}

/// A token is never shown, not even a wrong one.
fn read_token_text(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    match text.parse::<identity::JoinToken>() {
        Ok(_) => Some(text.to_owned()),
        Err(_) => value.fault(Slug::OutOfRange, "a whole join token (pm1....)", "another text"),
    }
}

fn read_socket_address(value: &Value<'_>) -> Option<SocketAddr> {
    let text = value.text()?;
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => value.fault(Slug::BadAddress, "address:port", text),
    }
}

fn read_number(fields: &mut Fields<'_>, key: &'static str, range: limits::Range) -> Option<u64> {
    fields.or(key, range.default, |value| value.integer(range.min, range.max))
}

fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_sample_says_the_defaults() {
        let sample = include_str!("../../deploy/agent.yaml");
        let config = Config::parse(sample, "agent.yaml").expect("the sample is valid");
        assert_eq!(config.batch_age_ms_max, limits::BATCH_AGE_MS.default);
        assert_eq!(config.batch_results_max as u64, limits::BATCH_RESULTS.default);
        assert_eq!(config.spool_bytes_max, limits::SPOOL_BYTES.default);
        assert_eq!(config.concurrent_checks_max as u64, limits::CONCURRENT_CHECKS.default);
        assert_eq!(config.log_format, LogFormat::Text);
    }

    /// An unknown key far from all others is answered with the list of the known ones.
    #[test]
    fn the_sample_names_every_key() {
        let sample = include_str!("../../deploy/agent.yaml");
        let faults = Config::parse("qqqqqqqqqqqq: 1", "f").expect_err("unknown");
        let unknown = faults.iter().find(|fault| fault.slug == Slug::UnknownField);
        let known = unknown.expect("one").expected.clone();
        let keys: Vec<&str> = known.trim_start_matches("one of ").split(", ").collect();
        assert_eq!(keys.len(), 11, "{known}");
        for key in keys {
            assert!(sample.contains(&format!("{key}:")), "the sample does not mention {key}");
        }
    }

    #[test]
    fn a_token_is_never_shown_right_or_wrong() {
        let token = format!("pm1.{}", "s".repeat(85) + "w");
        let text = format!("name: a\ndata_dir: d\naggregators: ['h:1']\njoin_token: {token}\n");
        let config = Config::parse(&text, "f").expect("valid");
        assert_eq!(config.join_token, Some(JoinToken::Text(token.clone())));
        assert!(!format!("{config:?}").contains("sss"));
        let faults = Config::parse(&text.replace("pm1.s", "pm2.s"), "f").expect_err("a bad token");
        assert!(!faults.to_string().contains("sss"), "{faults}");
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
