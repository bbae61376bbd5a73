//! `kind: Check`: one probe, run by some agents, again and again.

use crate::duration::show_ms;
use crate::fault::Slug;
use crate::limits::{INTERVAL_MS_MAX, INTERVAL_MS_MIN, TIMEOUT_MS_DEFAULT_MAX, TIMEOUT_MS_MIN};
use crate::metadata::Metadata;
use crate::probe::Probe;
use crate::reader::Value;
use crate::written::Written;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// An RFC 1123 label, as every name here.
    pub name: String,
    pub display_name: Option<String>,
    pub description: Option<String>,
    pub agents: AgentSelector,
    /// From 1 s to 1 d. When exactly it runs is in [`Grid`](crate::Grid).
    pub interval_ms: u64,
    /// Less than the interval. By default half of it, at most 10 s.
    pub timeout_ms: u64,
    pub probe: Probe,
    pub written: Written,
}

/// Which agents run a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentSelector {
    /// Every agent that is enrolled, also one that comes later.
    All,
    /// These; at least one, each once. One that is not enrolled yet is no fault.
    Names(Vec<String>),
}

impl AgentSelector {
    pub fn includes(&self, agent: &str) -> bool {
        match self {
            Self::All => true,
            Self::Names(names) => names.iter().any(|name| name == agent),
        }
    }
}

impl Check {
    pub(crate) fn read(
        metadata: Option<Metadata>,
        spec: &Value<'_>,
        written: Written,
    ) -> Option<Self> {
        let mut fields = spec.fields()?;
        let description = fields.maybe("description", Value::description);
        let agents = fields.maybe("agents", Value::names);
        let interval_ms =
            fields.need("interval", |value| value.probe_duration(INTERVAL_MS_MIN, INTERVAL_MS_MAX));
        let timeout_ms = fields.maybe("timeout", |value| read_timeout(value, interval_ms));
        let probe = fields.need("probe", Probe::read);
        fields.finish();
        let (Metadata { name, display_name }, interval_ms) = (metadata?, interval_ms?);
        Some(Self {
            name,
            display_name,
            description: description?,
            agents: agents?.map_or(AgentSelector::All, AgentSelector::Names),
            interval_ms,
            timeout_ms: timeout_ms?.unwrap_or((interval_ms / 2).min(TIMEOUT_MS_DEFAULT_MAX)),
            probe: probe?,
            written,
        })
    }
}

/// Below the interval, so that a run has ended (well or not) before the next one is due.
fn read_timeout(value: &Value<'_>, interval_ms: Option<u64>) -> Option<u64> {
    let timeout_ms = value.probe_duration(TIMEOUT_MS_MIN, INTERVAL_MS_MAX)?;
    match interval_ms {
        Some(interval_ms) if timeout_ms >= interval_ms => {
            let expected = format!("less than the interval of {}", show_ms(interval_ms));
            value.fault(Slug::OutOfRange, expected, show_ms(timeout_ms))
        }
        _ => Some(timeout_ms),
    }
}
