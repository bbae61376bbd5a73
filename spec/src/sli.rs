//! `kind: SLI` (OpenSLO v1) over our own results: which runs count, and which of them are good.
//!
//! ```yaml
//! ratioMetric:
//!   good:  {metricSource: {type: proofmark, spec: {checks: [a], durationMsMax: 500}}}
//!   total: {metricSource: {type: proofmark, spec: {checks: [a]}}}
//! ```

use std::collections::BTreeSet;

use crate::fault::Slug;
use crate::metadata::Metadata;
use crate::reader::{Fields, Value};
use crate::written::Written;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sli {
    pub name: String,
    pub display_name: Option<String>,
    pub description: Option<String>,
    pub spec: RatioMetric,
    pub written: Written,
}

/// Good runs among all runs. What is written with `bad` is turned round when read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatioMetric {
    /// At least one, each once, in the order written.
    pub checks: Vec<String>,
    /// Empty: every agent that runs the checks.
    pub agents: Vec<String>,
    pub good: Criterion,
}

/// When a run is good. A run whose outcome is unknown is neither good nor bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Criterion {
    pub outcome: CountedOutcome,
    /// A longer run is bad whatever its outcome.
    pub duration_ms_max: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedOutcome {
    Pass,
    Fail,
}

impl Criterion {
    /// Whether a run that passed or failed, and took so long, is good.
    pub fn is_met(&self, passed: bool, duration_us: u64) -> bool {
        let in_time = |ms: u64| duration_us <= ms.saturating_mul(1_000);
        passed == (self.outcome == CountedOutcome::Pass) && self.duration_ms_max.is_none_or(in_time)
    }
}

impl CountedOutcome {
    fn opposite(self) -> Self {
        match self {
            Self::Pass => Self::Fail,
            Self::Fail => Self::Pass,
        }
    }
}

impl Sli {
    pub(crate) fn read(
        metadata: Option<Metadata>,
        spec: &Value<'_>,
        written: Written,
    ) -> Option<Self> {
        let mut fields = spec.fields()?;
        let description = fields.maybe("description", Value::description);
        let ratio = match fields.one_of(&["ratioMetric", "thresholdMetric"]) {
            Some("thresholdMetric") => fields.refuse("thresholdMetric", "ratioMetric").and(None),
            Some(_) => fields.need("ratioMetric", RatioMetric::read),
            None => None,
        };
        fields.finish();
        let Metadata { name, display_name } = metadata?;
        Some(Self { name, display_name, description: description?, spec: ratio?, written })
    }
}

/// What one `metricSource` of ours says.
struct Source {
    checks: Vec<String>,
    agents: Vec<String>,
    outcome: Option<CountedOutcome>,
    duration_ms_max: Option<u64>,
}

/// Which side of the ratio a source describes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Good,
    Bad,
    Total,
}

impl RatioMetric {
    fn read(value: &Value<'_>) -> Option<Self> {
        let mut fields = value.fields()?;
        // Ours are results of single runs, neither a growing counter nor a gauge: no difference.
        let counter = fields.maybe("counter", Value::boolean);
        if fields.has("raw") || fields.has("rawType") {
            let raw = fields.refuse("raw", "good or bad, with total");
            let raw_type = fields.refuse("rawType", "good or bad, with total");
            fields.finish();
            return raw.and(raw_type).and(None);
        }
        let side = fields.one_of(&["good", "bad"]);
        let good = fields.maybe("good", |value| Source::read(value, Side::Good));
        let bad = fields.maybe("bad", |value| Source::read(value, Side::Bad));
        let total = fields.need("total", |value| Source::read(value, Side::Total));
        let same = check_same_runs(&fields, good.as_ref(), bad.as_ref(), total.as_ref());
        fields.finish();
        counter.and(side).and(same)?;
        let total = total?;
        let good = match (good?, bad?) {
            (Some(good), _) => good.good_when(),
            (_, Some(bad)) => bad.good_unless(),
            (None, None) => return None,
        };
        Some(Self { checks: total.checks, agents: total.agents, good })
    }
}

impl Source {
    fn read(value: &Value<'_>, side: Side) -> Option<Self> {
        let mut fields = value.fields()?;
        let source = fields.need("metricSource", |value| Self::read_metric_source(value, side));
        fields.finish();
        source
    }

    /// A source of another type is somebody else's: its `spec` is not looked at.
    fn read_metric_source(value: &Value<'_>, side: Side) -> Option<Self> {
        let mut fields = value.fields()?;
        let instead = "type: proofmark";
        if fields.has("metricSourceRef") {
            fields.refuse("metricSourceRef", instead);
            return None;
        }
        let kind = fields.need("type", |value| match value.text()? {
            "proofmark" => Some(()),
            other => value.fault(Slug::NotSupportedYet, "proofmark", other),
        });
        kind?;
        let source = fields.need("spec", |value| Self::read_spec(value, side));
        fields.finish();
        source
    }

    fn read_spec(value: &Value<'_>, side: Side) -> Option<Self> {
        let mut fields = value.fields()?;
        let checks = fields.need("checks", Value::names);
        let agents = fields.or("agents", Vec::new(), Value::names);
        let (mut outcome, mut duration_ms_max) = (Some(None), Some(None));
        if side != Side::Total {
            outcome = fields.maybe("outcome", read_outcome);
        }
        if side == Side::Good {
            duration_ms_max = fields.maybe("durationMsMax", Value::latency_ms);
        } else if let Some(value) = fields.get("durationMsMax") {
            let expected = "a time limit under good only (a slower run is then bad)";
            duration_ms_max = value.fault(Slug::Conflict, expected, "durationMsMax");
        }
        fields.finish();
        Some(Self {
            checks: checks?,
            agents: agents?,
            outcome: outcome?,
            duration_ms_max: duration_ms_max?,
        })
    }

    fn good_when(self) -> Criterion {
        let outcome = self.outcome.unwrap_or(CountedOutcome::Pass);
        Criterion { outcome, duration_ms_max: self.duration_ms_max }
    }

    fn good_unless(self) -> Criterion {
        let outcome = self.outcome.unwrap_or(CountedOutcome::Fail).opposite();
        Criterion { outcome, duration_ms_max: None }
    }

    fn runs(&self) -> (BTreeSet<&String>, BTreeSet<&String>) {
        (self.checks.iter().collect(), self.agents.iter().collect())
    }
}

fn read_outcome(value: &Value<'_>) -> Option<CountedOutcome> {
    value.choice(&[("pass", CountedOutcome::Pass), ("fail", CountedOutcome::Fail)])
}

/// A part must be a part of its whole: the good (or bad) are chosen among the runs of `total`.
fn check_same_runs(
    fields: &Fields<'_>,
    good: Option<&Option<Source>>,
    bad: Option<&Option<Source>>,
    total: Option<&Source>,
) -> Option<()> {
    let total = total?.runs();
    let parts = [good, bad];
    let differs =
        parts.iter().flatten().filter_map(|part| part.as_ref()).any(|p| p.runs() != total);
    match differs {
        false => Some(()),
        true => {
            let expected = "the same checks and agents in total as in good or bad";
            fields.fault(Slug::Conflict, expected, "others")
        }
    }
}
