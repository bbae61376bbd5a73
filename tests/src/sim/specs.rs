//! What is to be checked, and how that changes while everything fails.

/// The documents of one revision: two checks and what is promised of them. Revisions differ in how
/// often `home` runs, and later ones bring a third check.
pub(super) fn text(revision: u64) -> String {
    let home_s = 1 + revision % 3;
    let objective = OBJECTIVE.replace("[home]", "[home, deep]");
    let mut text = format!("{}---\n{}---\n{objective}", check("home", home_s), check("deep", 3));
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

/// Over the one check of the other tests' sample; here it is over two.
const OBJECTIVE: &str = include_str!("../../samples/objective.yaml");
