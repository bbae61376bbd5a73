//! What a good spec means once it is read: defaults, exact numbers, merge, diff.

use proofmark_spec::{
    AgentSelector, Budgeting, CountedOutcome, Documents, FilesExpectation, Grid, Indicator,
    PartsPerBillion, Probe, Source, StatusRange, diff, parse,
};

fn documents(text: &str) -> Documents {
    parse(&[Source { file: "f.yaml", text }]).unwrap_or_else(|faults| panic!("{faults}"))
}

fn check(name: &str, interval: &str, more: &str, probe: &str) -> String {
    format!(
        "apiVersion: proofmark/v1\nkind: Check\nmetadata: {{name: {name}}}\nspec:\n  \
         interval: {interval}\n{more}  probe: {probe}\n---\n"
    )
}

fn slo(name: &str, target: &str) -> String {
    format!(
        "apiVersion: openslo/v1\nkind: SLO\nmetadata: {{name: {name}}}\nspec:\n  service: web\n  \
         indicatorRef: up\n  budgetingMethod: Occurrences\n  timeWindow: [{{duration: 4w, \
         isRolling: true}}]\n  objectives: [{{{target}}}]\n---\n"
    )
}

fn sli(ratio: &str) -> Documents {
    documents(&format!(
        "apiVersion: openslo/v1\nkind: SLI\nmetadata: {{name: up}}\nspec:\n  ratioMetric: {ratio}\n"
    ))
}

const TCP: &str = "{tcp: {address: 'localhost:80'}}";

#[test]
fn a_check_has_defaults() {
    let read = documents(&check("a", "10s", "", "{http: {url: 'https://a.example/x?token=1'}}"));
    let check = &read.checks[0];
    assert_eq!(check.agents, AgentSelector::All);
    assert_eq!((check.interval_ms, check.timeout_ms), (10_000, 5_000));
    assert_eq!(check.probe.target(), "https://a.example/x");
    let Probe::Http(http) = &check.probe else { panic!("{:?}", check.probe) };
    assert_eq!(http.method.as_str(), "GET");
    assert_eq!(http.valid_status_codes, [StatusRange::SUCCESS]);
    assert!(http.follow_redirects && http.ip_protocol_fallback);
    assert_eq!(http.body_size_limit_bytes, 1 << 20);
}

#[test]
fn the_default_timeout_is_at_most_ten_seconds() {
    assert_eq!(documents(&check("a", "1h", "", TCP)).checks[0].timeout_ms, 10_000);
    assert_eq!(documents(&check("a", "1s", "", TCP)).checks[0].timeout_ms, 500);
}

#[test]
fn files_without_a_manifest_are_compared_with_the_first_run() {
    let read = documents(&check("a", "1m", "", "{files: {path: /srv, exclude: ['tmp/**']}}"));
    let Probe::Files(files) = &read.checks[0].probe else { panic!() };
    assert_eq!(files.expectation, FilesExpectation::Baseline);
    assert!(files.covers("a/b") && !files.covers("tmp/a"));
}

#[test]
fn targets_are_exact() {
    let table = [
        ("target: 0.999", 999_000_000),
        ("target: 0.1", 100_000_000),
        ("target: 0", 0),
        ("target: 0.999999999", 999_999_999),
        ("targetPercent: 99.9", 999_000_000),
        ("targetPercent: 99.9999999", 999_999_999),
    ];
    for (target, expect) in table {
        assert_eq!(
            documents(&slo("s", target)).slos[0].target,
            PartsPerBillion(expect),
            "{target}"
        );
    }
}

#[test]
fn an_objective_has_a_rolling_window() {
    let slo = &documents(&slo("s", "target: 0.9")).slos[0];
    assert_eq!(slo.window_ms, 28 * 86_400_000);
    assert_eq!(slo.budgeting, Budgeting::Occurrences);
    assert_eq!(slo.indicator, Indicator::Ref("up".to_owned()));
}

#[test]
fn bad_is_good_turned_round() {
    let source = |spec: &str| format!("{{metricSource: {{type: proofmark, spec: {spec}}}}}");
    let total = source("{checks: [b, a]}");
    let table = [
        ("good", "{checks: [a, b]}", CountedOutcome::Pass, None),
        ("good", "{checks: [a, b], durationMsMax: 250}", CountedOutcome::Pass, Some(250)),
        ("good", "{checks: [a, b], outcome: fail}", CountedOutcome::Fail, None),
        ("bad", "{checks: [a, b]}", CountedOutcome::Pass, None),
        ("bad", "{checks: [a, b], outcome: pass}", CountedOutcome::Fail, None),
    ];
    for (side, spec, outcome, duration_ms_max) in table {
        let read = sli(&format!("{{{side}: {}, total: {total}}}", source(spec)));
        let good = read.slis[0].spec.good;
        assert_eq!(
            (good.outcome, good.duration_ms_max),
            (outcome, duration_ms_max),
            "{side} {spec}"
        );
    }
}

#[test]
fn a_good_run_passes_in_time() {
    let source = "{metricSource: {type: proofmark, spec: {checks: [a], durationMsMax: 2}}}";
    let total = "{metricSource: {type: proofmark, spec: {checks: [a]}}}";
    let good = sli(&format!("{{good: {source}, total: {total}}}")).slis[0].spec.good;
    assert!(good.is_met(true, 2_000));
    assert!(!good.is_met(true, 2_001));
    assert!(!good.is_met(false, 1));
}

#[test]
fn an_alias_means_what_its_anchor_says() {
    let text = "
- apiVersion: proofmark/v1
  kind: Check
  metadata: {name: a}
  spec: &spec {interval: 5s, probe: {tcp: {address: 'localhost:80'}}}
- apiVersion: proofmark/v1
  kind: Check
  metadata: {name: b}
  spec: *spec
";
    let read = documents(text);
    assert_eq!(read.checks[0].probe, read.checks[1].probe);
    assert_eq!(documents(&read.to_yaml()), read);
}

#[test]
fn a_position_is_where_the_document_began() {
    let read = documents(&[check("a", "1s", "", TCP), check("b", "1s", "", TCP)].concat());
    let position = read.check("b").unwrap().written.position().unwrap();
    assert_eq!((&*position.file, position.line, position.column), ("f.yaml", 8, 1));
}

#[test]
fn agents_run_what_names_them() {
    let text = [
        check("b", "1s", "", TCP),
        check("a", "1s", "  agents: [web-1]\n", TCP),
        check("c", "1s", "  agents: [web-2]\n", TCP),
    ];
    let read = documents(&text.concat());
    let names: Vec<&str> = read.checks_for("web-1").map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn merging_replaces_namesakes_and_keeps_the_rest() {
    let old = documents(&[check("a", "1s", "", TCP), check("b", "1s", "", TCP)].concat());
    let newer = documents(&[check("b", "2s", "", TCP), check("c", "1s", "", TCP)].concat());
    let merged = old.merge(&newer);
    let intervals: Vec<u64> = merged.checks.iter().map(|check| check.interval_ms).collect();
    assert_eq!(intervals, [1_000, 2_000, 1_000]);
    assert_eq!(merged.merge(&newer), merged);
}

#[test]
fn the_order_of_files_makes_no_difference() {
    let (a, b) = (check("a", "1s", "", TCP), check("b", "1s", "", TCP));
    assert_eq!(documents(&[a.as_str(), &b].concat()), documents(&[b, a].concat()));
}

#[test]
fn a_diff_says_what_a_person_changed() {
    let old =
        [slo("availability", "target: 0.99"), check("a", "1s", "", TCP), check("b", "1s", "", TCP)];
    let new = [
        slo("availability", "target: 0.999"),
        check("a", "1s", "  timeout: 200ms\n", TCP),
        check("c", "1s", "", TCP),
    ];
    let lines = diff(&documents(&old.concat()), &documents(&new.concat()));
    let expect = [
        "~ SLO/availability: target 0.99 -> 0.999",
        "~ Check/a: timeout (absent) -> 200ms",
        "- Check/b",
        "+ Check/c",
    ];
    assert_eq!(lines, expect);
    let same = documents(&old.concat());
    assert_eq!(diff(&same, &same), ["= 3 unchanged"]);
}

#[test]
fn faults_of_every_file_come_together() {
    let (a, b) = (check("a", "0s", "", TCP), check("b", "1s", "", "{}"));
    let sources = [Source { file: "a.yaml", text: &a }, Source { file: "b.yaml", text: &b }];
    let faults = parse(&sources).unwrap_err();
    let files: Vec<&str> = faults.iter().map(|fault| &*fault.file).collect();
    assert_eq!(files, ["a.yaml", "b.yaml"]);
}

#[test]
fn a_text_beyond_the_limit_is_refused_unread() {
    let text = "# ".repeat(600_000);
    let faults = parse(&[Source { file: "big.yaml", text: &text }]).unwrap_err();
    let expect = "big.yaml:1:1: too_large: document: expected at most 1048576 bytes in one file, \
                  got 1200000 bytes";
    assert_eq!(faults.to_string(), expect);
}

#[test]
fn documents_beyond_the_limit_are_refused() {
    let text: String = (0..1_001).map(|n| check(&format!("c{n}"), "1s", "", TCP)).collect();
    let faults = parse(&[Source { file: "f", text: &text }]).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults.iter().next().unwrap().slug.as_str(), "too_large");
}

#[test]
fn a_grid_is_the_same_for_ever() {
    // Computed apart from this code: FNV-1a of "http-health\0web-1", modulo the interval.
    let offset_ms = |agent| Grid::of("http-health", agent, 10_000).offset_ms;
    assert_eq!((offset_ms("web-1"), offset_ms("web-2")), (246, 2_035));
}
