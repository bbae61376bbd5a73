//! Specs of tests: as little as decides numbers, written out as the YAML a user would write.

use std::fmt::Write;

use proofmark_spec::{Documents, Source, parse};

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
        let text = self.yaml();
        let documents = parse(&[Source { file: "test.yaml", text: &text }]);
        let documents = documents.unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        documents.resolve().unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        documents
    }

    pub fn yaml(&self) -> String {
        let checks = self.checks.iter().map(TestCheck::yaml);
        let service = "apiVersion: openslo/v1\nkind: Service\nmetadata:\n  name: shop\nspec: {}\n";
        let slos = self.slos.iter().map(TestSlo::yaml);
        let documents: Vec<String> = checks.chain([service.to_owned()]).chain(slos).collect();
        documents.join("---\n")
    }
}

impl TestCheck {
    fn yaml(&self) -> String {
        let (name, interval_s) = (self.name, self.interval_s);
        let agents = match self.agents.as_slice() {
            [] => String::new(),
            names => format!("  agents: [{}]\n", names.join(", ")),
        };
        format!(
            "apiVersion: proofmark/v1\nkind: Check\nmetadata:\n  name: {name}\nspec:\n  \
             interval: {interval_s}s\n{agents}  tcp:\n    address: 127.0.0.1:80\n"
        )
    }
}

impl TestSlo {
    fn yaml(&self) -> String {
        let mut text = format!(
            "apiVersion: openslo/v1\nkind: SLO\nmetadata:\n  name: {}\nspec:\n  service: shop\n",
            self.name
        );
        let selection = self.selection();
        let limit = self.limit_ms.map(|ms| format!(", durationMsMax: {ms}")).unwrap_or_default();
        let good = format!("{selection}, outcome: pass{limit}");
        let metric = |spec: &str| {
            format!("{{metricSource: {{type: proofmark, spec: {{{spec}}}}}}}")
        };
        let name = self.name;
        let _ = write!(
            text,
            "  indicator:\n    metadata:\n      name: {name}\n    spec:\n      ratioMetric:\n        \
             good: {}\n        total: {}\n  timeWindow:\n    - duration: {}m\n      \
             isRolling: true\n{}",
            metric(&good),
            metric(&selection),
            self.window_minutes,
            self.objective(),
        );
        text
    }

    fn selection(&self) -> String {
        let checks = format!("checks: [{}]", self.checks.join(", "));
        match self.agents.as_slice() {
            [] => checks,
            names => format!("{checks}, agents: [{}]", names.join(", ")),
        }
    }

    fn objective(&self) -> String {
        let target = format!("  objectives:\n    - target: 0.{:03}\n", self.target_milli);
        match self.slices {
            None => format!("  budgetingMethod: Occurrences\n{target}"),
            Some((minutes, milli)) => format!(
                "  budgetingMethod: Timeslices\n{target}      timeSliceTarget: 0.{milli:03}\n      \
                 timeSliceWindow: {minutes}m\n"
            ),
        }
    }
}
