//! `proofmark get`: what the aggregator's HTTP API knows, as a table or as its own JSON.

use serde_json::Value;

use crate::args::{Consistency, Get, Output, What};
use crate::exit::{Done, Exit, Failure};
use crate::http::{Answer, Client, HttpFault};
use crate::say;

pub fn run(get: &Get) -> Done {
    let url = format!("{}{}{}", server(get)?, path(get)?, query(get));
    let answer = Client::new()?.ask(&url).map_err(failure)?;
    let value: Value = serde_json::from_slice(&answer.body).map_err(|why| {
        Failure::new(Exit::Unavailable, format!("{url}: expected our JSON, got: {why}"))
    })?;
    if get.consistency == Some(Consistency::Stale) {
        eprintln!("{}", staleness(&answer));
    }
    match get.output {
        Output::Json => println!("{}", String::from_utf8_lossy(&answer.body).trim_end()),
        Output::Text => print!("{}", text(get.what, &value)),
    }
    Ok(Exit::Ok)
}

fn server(get: &Get) -> Result<&str, Failure> {
    let server = get.server.trim_end_matches('/');
    if server.starts_with("http://") || server.starts_with("https://") {
        return Ok(server);
    }
    let message = format!("--server: expected like http://127.0.0.1:7680, got {server}");
    Err(Failure::new(Exit::Usage, message))
}

fn path(get: &Get) -> Result<String, Failure> {
    let name = get.name.as_deref();
    Ok(match (get.what, name) {
        (What::Slo, Some(name)) => format!("/api/v1/slos/{name}"),
        (What::Slo, None) => "/api/v1/slos".into(),
        (What::Result, Some(id)) => format!("/api/v1/results/{id}"),
        (What::Result, None) => {
            let message = "expected a result id agent/epoch/sequence, got none";
            return Err(Failure::new(Exit::Usage, message));
        }
        (_, Some(name)) => {
            let message = format!("expected a name only for slo and result, got {name}");
            return Err(Failure::new(Exit::Usage, message));
        }
        (What::Agents, None) => "/api/v1/agents".into(),
        (What::Checks, None) => "/api/v1/checks".into(),
        (What::Failures, None) => "/api/v1/failures".into(),
        (What::Checkpoint, None) => "/api/v1/checkpoint".into(),
        (What::Health, None) => "/api/v1/health".into(),
        (What::Members, None) => "/api/v1/members".into(),
    })
}

fn query(get: &Get) -> &'static str {
    match get.consistency {
        None => "",
        Some(Consistency::Linearizable) => "?consistency=linearizable",
        Some(Consistency::Stale) => "?consistency=stale",
    }
}

/// How old a stale answer is, in one line.
fn staleness(answer: &Answer) -> String {
    let said = |name| answer.header(name).unwrap_or("?");
    let age = match answer.header("proofmark-age-ms") {
        Some(age_ms) => format!("lacks nothing that is older than {age_ms} ms"),
        None => "age not known: the asked replica has heard of no commit since it started".into(),
    };
    let (index, leaves) = (said("proofmark-applied-index"), said("proofmark-log-size"));
    format!("stale: {age} (applied index {index}, {leaves} leaves)")
}

/// No answer may be tried again; an answer that says no may not.
fn failure(fault: HttpFault) -> Failure {
    let exit = match &fault {
        HttpFault::NoAnswer { .. } => Exit::Unavailable,
        HttpFault::Status { status, .. } if *status >= 500 => Exit::Unavailable,
        HttpFault::Status { .. } | HttpFault::TooLarge { .. } => Exit::Refused,
    };
    Failure::new(exit, fault.to_string())
}

fn text(what: What, value: &Value) -> String {
    let rows = |row: fn(&Value) -> Vec<String>| -> Vec<Vec<String>> {
        match value.as_array() {
            Some(items) => items.iter().map(row).collect(),
            None => vec![row(value)],
        }
    };
    match what {
        What::Slo => say::table(SLO_HEAD, &rows(slo)),
        What::Agents => say::table(AGENT_HEAD, &rows(agent)),
        What::Checks => say::table(CHECK_HEAD, &rows(check)),
        What::Failures => say::table(FAILURE_HEAD, &rows(failed)),
        What::Members => say::table(MEMBER_HEAD, &rows(member)),
        What::Checkpoint => word(value, "note"),
        What::Result | What::Health => fields(value),
    }
}

const SLO_HEAD: &[&str] = &[
    "SLO",
    "TARGET",
    "SLI",
    "[WORST, BEST]",
    "BUDGET LEFT",
    "GOOD",
    "BAD",
    "UNKNOWN",
    "BURN 1H",
    "AS OF",
];

fn slo(value: &Value) -> Vec<String> {
    vec![
        word(value, "name"),
        percent(&value["target_ppb"]),
        point(&value["sli"]),
        range(&value["sli"]),
        point(&value["budget_remaining"]),
        word(value, "good"),
        word(value, "bad"),
        word(value, "unknown"),
        burn(value, "1h"),
        time(&value["as_of_ms"]),
    ]
}

const AGENT_HEAD: &[&str] =
    &["AGENT", "EPOCH", "NEXT SEQ", "ACCEPTED", "SILENT CHECKS", "RETIRED", "KEY ID"];

fn agent(value: &Value) -> Vec<String> {
    vec![
        word(value, "name"),
        word(value, "epoch"),
        word(value, "next_seq"),
        time(&value["accepted_at_ms"]),
        word(value, "silent_checks"),
        word(value, "retired"),
        word(value, "key_id"),
    ]
}

const CHECK_HEAD: &[&str] =
    &["AGENT", "CHECK", "KIND", "TARGET", "OUTCOME", "SCHEDULED", "SILENT SINCE"];

fn check(value: &Value) -> Vec<String> {
    vec![
        word(value, "agent"),
        word(value, "check"),
        word(value, "kind"),
        word(value, "target"),
        word(value, "outcome"),
        time(&value["scheduled_at_ms"]),
        time(&value["silent_since_ms"]),
    ]
}

const MEMBER_HEAD: &[&str] = &["ID", "NAME", "PART", "LEADS", "LAG", "AGENTS", "PEERS"];

fn member(value: &Value) -> Vec<String> {
    vec![
        word(value, "id"),
        word(value, "name"),
        word(value, "part"),
        word(value, "leads"),
        word(value, "lag_entries"),
        word(value, "grpc"),
        word(value, "peers"),
    ]
}

const FAILURE_HEAD: &[&str] = &["RESULT", "CHECK", "OUTCOME", "SCHEDULED", "DETAIL"];

fn failed(value: &Value) -> Vec<String> {
    vec![
        word(value, "id"),
        word(value, "check"),
        word(value, "outcome"),
        time(&value["scheduled_at_ms"]),
        word(value, "detail"),
    ]
}

fn fields(value: &Value) -> String {
    let fields = value.as_object().into_iter().flatten();
    let rows = fields.map(|(name, value)| vec![name.clone(), plain(value)]);
    say::table(&["FIELD", "VALUE"], &rows.collect::<Vec<_>>())
}

fn word(value: &Value, field: &str) -> String {
    plain(&value[field])
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn percent(value: &Value) -> String {
    value.as_i64().map_or_else(|| "-".into(), say::percent)
}

fn time(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".into(), say::time)
}

fn point(interval: &Value) -> String {
    if interval.is_null() { "no data".into() } else { percent(&interval["point_ppb"]) }
}

fn range(interval: &Value) -> String {
    if interval.is_null() {
        return "-".into();
    }
    format!("[{}, {}]", percent(&interval["worst_ppb"]), percent(&interval["best_ppb"]))
}

fn burn(value: &Value, window: &str) -> String {
    let burns = value["burn"].as_array().into_iter().flatten();
    let found = burns.into_iter().find(|burn| burn["window"] == window);
    let milli = found.and_then(|burn| burn["worst_milli"].as_u64());
    milli.map_or_else(|| "-".into(), |milli| format!("{}.{:03}", milli / 1000, milli % 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objective_with_unknowns_shows_its_interval() {
        let value = serde_json::json!([{
            "name": "site", "target_ppb": 990_000_000_u64,
            "sli": {"worst_ppb": 900_000_000, "point_ppb": 1_000_000_000, "best_ppb": 1_000_000_000},
            "budget_remaining": null, "good": 9, "bad": 0, "unknown": 1,
            "burn": [{"window": "1h", "worst_milli": 10_000}], "as_of_ms": 1_763_626_500_000_u64
        }]);
        let text = text(What::Slo, &value);
        let row: Vec<&str> = text.lines().nth(1).unwrap().split("  ").map(str::trim).collect();
        let row: Vec<&str> = row.into_iter().filter(|cell| !cell.is_empty()).collect();
        let expect = [
            "site",
            "99.000%",
            "100.000%",
            "[90.000%, 100.000%]",
            "no data",
            "9",
            "0",
            "1",
            "10.000",
            "2025-11-20T08:15:00Z",
        ];
        assert_eq!(row, expect);
    }
}
