//! `kind: SLO` (OpenSLO v1): how good a service must be, over which time.

use crate::decimal::PartsPerBillion;
use crate::duration::show_ms;
use crate::fault::Slug;
use crate::limits::{SLICE_UNIT_MS, WINDOW_MS_MAX, WINDOW_MS_MIN};
use crate::metadata::Metadata;
use crate::reader::{Fields, Value};
use crate::sli::Sli;
use crate::written::Written;
use crate::yaml::Node;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slo {
    pub name: String,
    pub display_name: Option<String>,
    pub description: Option<String>,
    pub service: String,
    pub indicator: Indicator,
    pub budgeting: Budgeting,
    /// A rolling window of 5 minutes to 90 days; a whole number of minutes.
    pub window_ms: u64,
    /// From 0, below 1.
    pub target: PartsPerBillion,
    pub written: Written,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Indicator {
    Inline(Sli),
    /// The name of an SLI of its own; [`Documents::ratio_of`](crate::Documents::ratio_of) finds it.
    Ref(String),
}

/// What the target is a ratio of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budgeting {
    /// Good runs among all runs of the window.
    Occurrences,
    /// Good slices among all slices; a slice is good when its ratio reaches `slice_target`.
    Timeslices {
        /// Whole minutes; divides the window.
        slice_ms: u64,
        /// Above 0, up to 1.
        slice_target: PartsPerBillion,
    },
}

/// The one objective of an SLO.
struct Objective {
    target: PartsPerBillion,
    slice_target: Option<PartsPerBillion>,
    slice_ms: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Occurrences,
    Timeslices,
    RatioTimeslices,
}

/// What of a spec decides which fields its objective may have.
#[derive(Clone, Copy)]
struct Context {
    method: Option<Method>,
    window_ms: Option<u64>,
    indicator_is_inline: bool,
}

impl Slo {
    pub(crate) fn read(
        metadata: Option<Metadata>,
        spec: &Value<'_>,
        written: Written,
    ) -> Option<Self> {
        let mut fields = spec.fields()?;
        let description = fields.maybe("description", Value::description);
        let service = fields.need("service", Value::name);
        let indicator = Indicator::read_from(&mut fields);
        let method = fields.need("budgetingMethod", read_method);
        let window_ms = fields.need("timeWindow", read_time_window);
        let indicator_is_inline = fields.has("indicator");
        let context = Context { method, window_ms, indicator_is_inline };
        let objective = fields.need("objectives", |value| read_objectives(value, context));
        let alerts = fields.maybe("alertPolicies", refuse_alert_policies);
        fields.finish();
        alerts?;
        let Metadata { name, display_name } = metadata?;
        let (objective, method) = (objective?, method?);
        Some(Self {
            name,
            display_name,
            description: description?,
            service: service?,
            indicator: indicator?,
            budgeting: objective.budgeting(method)?,
            window_ms: window_ms?,
            target: objective.target,
            written,
        })
    }
}

impl Indicator {
    fn read_from(fields: &mut Fields<'_>) -> Option<Self> {
        match has_composite_objective(fields) {
            // Refused where it stands, in the objective; asking for one here would mislead.
            true if !fields.has("indicator") && !fields.has("indicatorRef") => {
                fields.get("indicator");
                fields.get("indicatorRef");
                None
            }
            _ => match fields.one_of(&["indicator", "indicatorRef"])? {
                "indicator" => fields.need("indicator", read_inline).map(Self::Inline),
                _ => fields.need("indicatorRef", Value::name).map(Self::Ref),
            },
        }
    }
}

fn has_composite_objective(fields: &mut Fields<'_>) -> bool {
    let Some(objectives) = fields.get("objectives") else { return false };
    let is_member = |name| move |node: &Node| node.field(name).is_some();
    let items = objectives.node.items();
    items.iter().any(is_member("indicator")) || items.iter().any(is_member("indicatorRef"))
}

fn read_inline(value: &Value<'_>) -> Option<Sli> {
    let mut fields = value.fields()?;
    let metadata = fields.need("metadata", Metadata::read);
    let written = Written::new(&value.reporter.file, value.node);
    let sli = fields.need("spec", |spec| Sli::read(metadata, spec, written));
    fields.finish();
    sli
}

fn read_method(value: &Value<'_>) -> Option<Method> {
    let method = value.choice(&[
        ("Occurrences", Method::Occurrences),
        ("Timeslices", Method::Timeslices),
        ("RatioTimeslices", Method::RatioTimeslices),
    ])?;
    match method {
        Method::RatioTimeslices => {
            let expected = "Occurrences or Timeslices";
            value.fault(Slug::NotSupportedYet, expected, "RatioTimeslices")
        }
        method => Some(method),
    }
}

fn read_time_window(value: &Value<'_>) -> Option<u64> {
    let windows = value.items()?;
    let [window] = &windows[..] else {
        let got = value.node.content.describe();
        return value.fault(Slug::OutOfRange, "a list of exactly one window", got);
    };
    let mut fields = window.fields()?;
    let duration_ms = fields.need("duration", read_window_duration);
    let has_calendar = fields.has("calendar");
    let calendar = fields.refuse("calendar", "a rolling window");
    let rolling = match has_calendar && !fields.has("isRolling") {
        true => None,
        false => fields.need("isRolling", |value| match value.boolean()? {
            true => Some(()),
            false => value.fault(Slug::NotSupportedYet, "true: a rolling window", "false"),
        }),
    };
    fields.finish();
    calendar.and(rolling)?;
    duration_ms
}

fn read_window_duration(value: &Value<'_>) -> Option<u64> {
    let ms = value.shorthand()?;
    match (WINDOW_MS_MIN..=WINDOW_MS_MAX).contains(&ms) {
        true => Some(ms),
        false => {
            let (min, max) = (show_ms(WINDOW_MS_MIN), show_ms(WINDOW_MS_MAX));
            value.fault(Slug::OutOfRange, format!("a window from {min} to {max}"), show_ms(ms))
        }
    }
}

fn read_objectives(value: &Value<'_>, context: Context) -> Option<Objective> {
    let objectives = value.items()?;
    match &objectives[..] {
        [objective] => Objective::read(objective, context),
        [] => value.fault(Slug::OutOfRange, "exactly one objective", "an empty list"),
        _ => {
            let got = format!("{} of them", objectives.len());
            value.fault(Slug::NotSupportedYet, "exactly one objective", got)
        }
    }
}

impl Objective {
    fn read(value: &Value<'_>, context: Context) -> Option<Self> {
        let mut fields = value.fields()?;
        let display_name = fields.maybe("displayName", Value::display_name);
        let target = read_target(&mut fields);
        let slice_target = fields.maybe("timeSliceTarget", |value| {
            let inside = |ratio| ratio > PartsPerBillion::ZERO && ratio <= PartsPerBillion::ONE;
            value.ratio(9, "a ratio above 0 and up to 1", inside)
        });
        let slice_ms = fields.maybe("timeSliceWindow", |value| read_slice(value, context));
        let slices = check_slice_fields(&mut fields, context);
        let threshold = refuse_threshold_fields(&mut fields, context);
        let composite = refuse_composite_fields(&mut fields);
        fields.finish();
        display_name.and(slices).and(threshold).and(composite)?;
        Some(Self { target: target?, slice_target: slice_target?, slice_ms: slice_ms? })
    }

    fn budgeting(&self, method: Method) -> Option<Budgeting> {
        match method {
            Method::Occurrences => Some(Budgeting::Occurrences),
            Method::Timeslices => Some(Budgeting::Timeslices {
                slice_ms: self.slice_ms?,
                slice_target: self.slice_target?,
            }),
            Method::RatioTimeslices => None,
        }
    }
}

fn read_target(fields: &mut Fields<'_>) -> Option<PartsPerBillion> {
    let below_one = |ratio| ratio < PartsPerBillion::ONE;
    match fields.one_of(&["target", "targetPercent"])? {
        "target" => {
            fields.need("target", |value| value.ratio(9, "a ratio from 0 and below 1", below_one))
        }
        _ => fields.need("targetPercent", |value| {
            value.ratio(7, "a percentage from 0 and below 100", below_one)
        }),
    }
}

fn read_slice(value: &Value<'_>, context: Context) -> Option<u64> {
    let slice_ms = value.shorthand()?;
    match context.window_ms {
        Some(window_ms) if slice_ms % SLICE_UNIT_MS != 0 || window_ms % slice_ms != 0 => {
            let expected =
                format!("whole minutes that divide the window of {}", show_ms(window_ms));
            value.fault(Slug::OutOfRange, expected, show_ms(slice_ms))
        }
        _ => Some(slice_ms),
    }
}

/// Both are required with Timeslices and mean nothing with Occurrences.
fn check_slice_fields(fields: &mut Fields<'_>, context: Context) -> Option<()> {
    let mut all_good = Some(());
    for name in ["timeSliceTarget", "timeSliceWindow"] {
        match (context.method, fields.get(name)) {
            (Some(Method::Timeslices), None) => all_good = fields.missing(name),
            (Some(Method::Occurrences), Some(value)) => {
                let expected = "budgetingMethod: Timeslices with it";
                all_good = value.fault(Slug::Conflict, expected, "Occurrences");
            }
            _ => {}
        }
    }
    all_good
}

/// `op` and `value` belong to a thresholdMetric.
fn refuse_threshold_fields(fields: &mut Fields<'_>, context: Context) -> Option<()> {
    let mut all_good = Some(());
    for name in ["op", "value"] {
        let Some(value) = fields.get(name) else { continue };
        let slug = match context.indicator_is_inline {
            true => Slug::Conflict,
            false => Slug::NotSupportedYet,
        };
        all_good = value.fault(slug, "an objective of a ratioMetric, without it", name);
    }
    all_good
}

fn refuse_composite_fields(fields: &mut Fields<'_>) -> Option<()> {
    let instead = "one indicator for the whole SLO";
    let refused =
        ["indicator", "indicatorRef", "compositeWeight"].map(|name| fields.refuse(name, instead));
    refused.into_iter().collect()
}

fn refuse_alert_policies(value: &Value<'_>) -> Option<()> {
    match value.items()?.len() {
        0 => Some(()),
        count => {
            value.fault(Slug::NotSupportedYet, "no alert policies", format!("{count} of them"))
        }
    }
}
