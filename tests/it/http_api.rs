//! The HTTP API against its golden files, on a live replica: the document that describes it, every
//! path in that document, and every "no" it can say.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use proofmark_tests::installation::{Installation, SETTLE};
use proofmark_tests::target::Target;
use proofmark_tests::{api, golden, wait};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

/// A change of the API shows as a change of this file.
#[test]
fn the_document_is_its_golden_file() {
    let document = proofmark_aggregator::api::openapi_json() + "\n";
    let difference = golden::difference(&golden::dir("api").join("openapi.json"), &document);
    golden::assert_none(&Vec::from_iter(difference));
}

#[test]
fn every_path_of_the_document_answers_and_every_refusal_is_its_golden_file() {
    let target = Target::start();
    let mut installation = Installation::start(1);
    installation.apply("watched.yaml", &spec(target.address()));
    target.set_broken(true);
    let mut agent = installation.start_agent("web-1", &[installation.replicas[0].grpc]);
    let id = wait::until("a published result", SETTLE, || published_failure(&installation));
    agent.stop();
    let http = installation.replicas[0].http;
    let document = api::json(http, "/openapi.json").expect("served");
    answer_every_path(http, &document, &id);
    refuse_what_is_wrong(http);
    installation.stop_replica(0);
}

fn spec(target: SocketAddr) -> String {
    let results = |more: &str| {
        format!("{{metricSource: {{type: proofmark, spec: {{checks: [watched]{more}}}}}}}")
    };
    let (good, total) = (results(", outcome: pass"), results(""));
    format!(
        "apiVersion: proofmark/v1\nkind: Check\nmetadata: {{name: watched}}\nspec: {{interval: 1s, \
         timeout: 900ms, probe: {{http: {{url: \"http://{target}/\"}}}}}}\n---\n\
         apiVersion: openslo/v1\nkind: Service\nmetadata: {{name: local}}\nspec: {{}}\n---\n\
         apiVersion: openslo/v1\nkind: SLO\nmetadata: {{name: works}}\nspec:\n  service: local\n  \
         indicator:\n    metadata: {{name: passes}}\n    spec:\n      ratioMetric:\n        \
         counter: true\n        good: {good}\n        total: {total}\n  budgetingMethod: \
         Occurrences\n  timeWindow: [{{duration: 1h, isRolling: true}}]\n  objectives: \
         [{{target: 0.99}}]\n"
    )
}

/// The id of a failure that the newest checkpoint covers.
fn published_failure(installation: &Installation) -> Option<String> {
    let failures = installation.json("/api/v1/failures")?;
    let id = failures.as_array()?.first()?["id"].as_str()?.to_owned();
    installation.json(&format!("/api/v1/results/{id}"))?;
    installation.json("/api/v1/slos/works")?;
    Some(id)
}

/// Every path of the document with its parameters filled in; each is answered as described.
fn answer_every_path(http: SocketAddr, document: &Value, id: &str) {
    let parts: Vec<&str> = id.split('/').collect();
    let values = [("name", "works"), ("agent", parts[0]), ("epoch", parts[1]), ("seq", parts[2])];
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() >= 10, "{document}");
    for (path, item) in paths {
        let filled = values
            .iter()
            .fold(path.clone(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value));
        let (status, body) = api::get(http, &filled).unwrap_or_else(|| panic!("{filled}: silence"));
        let text = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status, 200, "{filled}: {text}");
        let described = &item["get"]["responses"]["200"]["content"];
        match described.get("application/json") {
            Some(content) => check_shape(&filled, document, &content["schema"], &text),
            None => assert!(!text.is_empty() && described["text/plain"].is_object(), "{filled}"),
        }
    }
}

/// The served fields are those of the document: none undescribed, none required and missing.
fn check_shape(path: &str, document: &Value, schema: &Value, text: &str) {
    let served: Value = serde_json::from_str(text).unwrap_or_else(|why| panic!("{path}: {why}"));
    let (served, schema) = match served {
        Value::Array(items) => (items.into_iter().next(), &schema["items"]),
        object => (Some(object), schema),
    };
    let served = served.unwrap_or_else(|| panic!("{path}: expected one item at least"));
    let name = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()).expect("a $ref");
    let schema = &document["components"]["schemas"][name];
    let fields = served.as_object().expect("an object");
    for field in fields.keys() {
        assert!(schema["properties"].get(field).is_some(), "{path}: {field} is not described");
    }
    for field in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(fields.contains_key(field), "{path}: {field} is required and missing");
    }
}

/// golden file's name, request line
const REFUSED: &[(&str, &str)] = &[
    ("no-such-page", "GET /wp-login.php"),
    ("no-such-version", "GET /api/v2/health"),
    ("health-below", "GET /api/v1/health/more"),
    ("method-post", "POST /api/v1/slos"),
    ("method-delete", "DELETE /api/v1/agents"),
    ("consistency-unknown", "GET /api/v1/slos?consistency=eventual"),
    ("consistency-twice", "GET /api/v1/health?consistency=stale&consistency=stale"),
    ("slo-unknown", "GET /api/v1/slos/nobody"),
    ("slo-not-utf8", "GET /api/v1/slos/%ff%fe"),
    ("slo-with-markup", "GET /api/v1/slos/%3Cscript%3E"),
    ("result-unknown-agent", "GET /api/v1/results/nobody/1/1"),
    ("result-agent-name", "GET /api/v1/results/WEB-1/1/1"),
    ("result-epoch-word", "GET /api/v1/results/web-1/one/1"),
    ("result-epoch-negative", "GET /api/v1/results/web-1/-1/1"),
    ("result-seq-zero", "GET /api/v1/results/web-1/1/0"),
    ("result-seq-too-large", "GET /api/v1/results/web-1/1/18446744073709551616"),
    ("result-seq-to-come", "GET /api/v1/results/web-1/1/18446744073709551615"),
    ("proof-unknown", "GET /api/v1/results/web-1/7/1/proof"),
    ("proof-seq-word", "GET /api/v1/results/web-1/1/x/proof"),
    ("log-unknown-file", "GET /log/secret"),
    ("log-parent", "GET /log/../identity/operator.json"),
    ("log-parent-escaped", "GET /log/%2e%2e/identity/operator.json"),
    ("log-absolute", "GET /log//etc/passwd"),
    ("log-tile-to-come", "GET /log/tile/0/x999/999"),
    ("log-tile-level", "GET /log/tile/64/000"),
    ("log-tile-width", "GET /log/tile/0/000.p/256"),
    ("log-entries-to-come", "GET /log/tile/entries/x999/999"),
    ("log-payload-to-come", "GET /log/payload/x999/999"),
];

fn refuse_what_is_wrong(http: SocketAddr) {
    let mut differences = Vec::new();
    for (name, line) in REFUSED {
        let (status, body) = answer(http, line);
        let said = format!("{line}\n{status}\n{body}\n");
        let file = golden::dir("api").join(format!("{name}.txt"));
        differences.extend(golden::difference(&file, &said));
        let problem: Value = serde_json::from_str(&body).unwrap_or_default();
        if !problem["slug"].is_string() || !problem["message"].is_string() {
            differences.push(format!("{line}: expected a slug and a message, got {body:?}"));
        }
    }
    golden::assert_none(&differences);
}

/// Status line and body; the path is sent as it stands.
fn answer(http: SocketAddr, line: &str) -> (String, String) {
    let mut stream = TcpStream::connect_timeout(&http, PATIENCE).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let request = format!("{line} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers in text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}
