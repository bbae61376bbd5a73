//! Specs of tests: as little as decides numbers, written out as the YAML a user would write.

use proofmark_spec::{Documents, Source, parse};

/// The documents in force once `text` alone was applied.
pub fn documents(text: &str) -> Documents {
    let documents = parse(&[Source { file: "test.yaml", text }]);
    let documents = documents.unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    documents.resolve().unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    documents
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestSpec {
    pub checks: Vec<TestCheck>,
    pub slos: Vec<TestSlo>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestCheck {
    pub name: &'static str,
    pub interval_s: u64,
    /// Empty: all.
    pub agents: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestSlo {
    pub name: &'static str,
    pub checks: Vec<&'static str>,
    /// Empty: all.
    pub agents: Vec<&'static str>,
    pub limit_ms: Option<u64>,
    /// Minutes, and thousandths that must be good.
    pub slices: Option<(u64, u64)>,
    pub window_minutes: u64,
    /// Thousandths.
    pub target_milli: u64,
}

impl TestSpec {
    pub fn documents(&self) -> Documents {
        documents(&self.yaml())
    }

    pub fn yaml(&self) -> String {
        let checks = self.checks.iter().map(TestCheck::yaml);
        let service = "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: shop}\nspec: {}\n";
        let slos = self.slos.iter().map(TestSlo::yaml);
        let documents: Vec<String> = checks.chain([service.to_owned()]).chain(slos).collect();
        documents.join("---\n")
    }
}

impl TestCheck {
    fn yaml(&self) -> String {
        let agents = flow("agents", &self.agents);
        lines(&[
            "apiVersion: proofmark/v1".to_owned(),
            "kind: Check".to_owned(),
            format!("metadata: {{name: {}}}", self.name),
            format!("spec: {{interval: {}s{agents}, {PROBE}}}", self.interval_s),
        ])
    }
}

/// Any probe will do: nobody runs it.
const PROBE: &str = "probe: {tcp: {address: 127.0.0.1:80}}";

impl TestSlo {
    fn yaml(&self) -> String {
        lines(&[
            "apiVersion: openslo/v1".to_owned(),
            "kind: SLO".to_owned(),
            format!("metadata: {{name: {}}}", self.name),
            "spec:".to_owned(),
            "  service: shop".to_owned(),
            format!("  indicator: {{metadata: {{name: {}}}, spec: {}}}", self.name, self.ratio()),
            format!("  timeWindow: [{{duration: {}m, isRolling: true}}]", self.window_minutes),
            self.objective(),
        ])
    }

    fn ratio(&self) -> String {
        let runs = format!("checks: [{}]{}", self.checks.join(", "), flow("agents", &self.agents));
        let limit = self.limit_ms.map(|ms| format!(", durationMsMax: {ms}")).unwrap_or_default();
        let source = |spec| format!("{{metricSource: {{type: proofmark, spec: {{{spec}}}}}}}");
        let (good, total) = (source(format!("{runs}{limit}")), source(runs));
        format!("{{ratioMetric: {{good: {good}, total: {total}}}}}")
    }

    fn objective(&self) -> String {
        let target = format!("target: 0.{:03}", self.target_milli);
        let (method, slices) = match self.slices {
            None => ("Occurrences", String::new()),
            Some((minutes, milli)) => (
                "Timeslices",
                format!(", timeSliceTarget: 0.{milli:03}, timeSliceWindow: {minutes}m"),
            ),
        };
        format!("  budgetingMethod: {method}\n  objectives: [{{{target}{slices}}}]")
    }
}

/// `, key: [a, b]`, or nothing for an empty list.
fn flow(key: &str, names: &[&str]) -> String {
    if names.is_empty() { String::new() } else { format!(", {key}: [{}]", names.join(", ")) }
}

fn lines(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}
