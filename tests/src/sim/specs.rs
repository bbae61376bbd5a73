//! What is to be checked, and how that changes while everything fails.

/// The documents of one revision: two checks and what is promised of them. Revisions differ in how
/// often `home` runs, and later ones bring a third check.
pub(super) fn text(revision: u64) -> String {
    let home_s = 1 + revision % 3;
    let mut text = format!("{}---\n{}---\n{OBJECTIVE}", check("home", home_s), check("deep", 3));
    if revision > 1 {
        text.push_str(&format!("---\n{}", check(&format!("extra-{}", revision % 2), 2)));
    }
    text
}

fn check(name: &str, interval_s: u64) -> String {
    format!(
        "apiVersion: proofmark/v1\nkind: Check\nmetadata: {{name: {name}}}\nspec:\n  \
         interval: {interval_s}s\n  timeout: 500ms\n  \
         probe: {{tcp: {{address: 'localhost:80'}}}}\n"
    )
}

/// The name of the objective that all runs share.
pub(super) const OBJECTIVE_NAME: &str = "web-up";

const OBJECTIVE: &str = "\
apiVersion: openslo/v1
kind: Service
metadata: {name: web}
spec: {description: d}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: up}
spec:
  ratioMetric:
    good: {metricSource: {type: proofmark, spec: {checks: [home, deep], outcome: pass}}}
    total: {metricSource: {type: proofmark, spec: {checks: [home, deep]}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: web-up}
spec:
  service: web
  indicatorRef: up
  budgetingMethod: Occurrences
  timeWindow: [{duration: 1h, isRolling: true}]
  objectives: [{target: 0.99}]
";
