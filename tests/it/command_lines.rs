//! What the program says on a terminal, word for word: `tests/golden/cli/NAME.txt` holds the exit
//! code, standard output and standard error of a command line. `UPDATE=1` rewrites the files.
//!
//! Rows run in their order, in one folder: a later one may build on what an earlier one left.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use proofmark_tests::installation::path;
use proofmark_tests::target::Target;
use proofmark_tests::{golden, program};

/// A whole token, of no cluster that anybody runs.
const OTHER_CLUSTER: &str = "aggregator join --config a2.yaml --token \
    pmn1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// golden file's name, command line
const LINES: &[(&str, &str)] = &[
    ("help", "--help"),
    ("help-up", "up --help"),
    ("help-aggregator-init", "aggregator init --help"),
    ("help-aggregator-run", "aggregator run --help"),
    ("help-aggregator-invite", "aggregator invite --help"),
    ("help-aggregator-replace", "aggregator replace --help"),
    ("help-aggregator-join", "aggregator join --help"),
    ("help-aggregator-leave", "aggregator leave --help"),
    ("help-aggregator-transfer-leader", "aggregator transfer-leader --help"),
    ("help-aggregator-members", "aggregator members --help"),
    ("help-agent-run", "agent run --help"),
    ("help-agent-retire", "agent retire --help"),
    ("help-apply", "apply --help"),
    ("help-get", "get --help"),
    ("help-evidence-verify", "evidence verify --help"),
    ("help-evidence-prove", "evidence prove --help"),
    ("help-evidence-check", "evidence check --help"),
    ("help-token-create", "token create --help"),
    ("help-check-run", "check run --help"),
    ("help-exit-codes", "help exit-codes"),
    ("help-reasons", "help reasons"),
    ("help-unknown-topic", "help weather"),
    ("no-verb", ""),
    ("unknown-verb", "sing"),
    ("unknown-flag", "get slo --colour"),
    ("config-default-agent", "config default agent"),
    ("config-default-aggregator", "config default aggregator"),
    ("up-too-many-replicas", "up --replicas 6"),
    ("up-not-an-address", "up --http here"),
    ("apply-faults-of-several-files", "apply -f one.yaml -f two.yaml"),
    ("apply-faults-of-a-folder", "apply -f specs"),
    ("apply-no-file", "apply"),
    ("apply-missing-file", "apply -f missing.yaml"),
    ("apply-empty-folder", "apply -f empty"),
    ("apply-not-utf8", "apply -f garbage"),
    ("apply-without-data", "apply -f passes.yaml --data nowhere"),
    ("get-nobody-there", "get slo --server http://127.0.0.1:1"),
    ("get-not-a-url", "get slo --server nonsense"),
    ("get-not-an-aggregator", "get health --server http://{target}"),
    ("get-consistency-unknown", "get slo --consistency eventual"),
    ("get-result-without-id", "get result"),
    ("get-name-of-what-has-none", "get agents web-1"),
    ("token-without-data", "token create --data nowhere"),
    ("token-ttl-without-unit", "token create --ttl 15"),
    ("agent-retire-without-data", "agent retire web-1 --data nowhere"),
    ("aggregator-run-missing-config", "aggregator run --config missing.yaml"),
    ("aggregator-run-bad-config", "aggregator run --config one.yaml"),
    ("aggregator-run-before-init", "aggregator run --config a1.yaml"),
    ("aggregator-init", "aggregator init --config a1.yaml"),
    ("aggregator-init-twice", "aggregator init --config a1.yaml"),
    ("aggregator-init-bad-bundle", "aggregator init --config a2.yaml --bundle garbage"),
    ("aggregator-init-garbled-bundle", "aggregator init --config a2.yaml --bundle garbled"),
    ("aggregator-init-missing-bundle", "aggregator init --config a2.yaml --bundle missing"),
    ("aggregator-run-other-node", "aggregator run --config a1-renamed.yaml"),
    ("aggregator-run-port-taken", "aggregator run --config a1-port-taken.yaml"),
    ("aggregator-invite-without-data", "aggregator invite --name a4 --data nowhere"),
    ("aggregator-invite-ttl-without-unit", "aggregator invite --name a4 --ttl 15"),
    ("aggregator-join-agents-token", "aggregator join --config a2.yaml --token pm1.AAAA"),
    ("aggregator-join-cut-token", "aggregator join --config a2.yaml --token pmn1.AAAA"),
    ("aggregator-join-other-cluster", OTHER_CLUSTER),
    ("agent-run-missing-config", "agent run --config missing.yaml"),
    ("agent-run-bad-config", "agent run --config one.yaml"),
    ("agent-run-without-token", "agent run --config agent.yaml"),
    ("evidence-verify-missing", "evidence verify missing"),
    ("evidence-verify-empty", "evidence verify empty"),
    ("evidence-verify-not-begun", "evidence verify a1/evidence"),
    ("evidence-verify-json", "evidence verify empty -o json"),
    ("evidence-verify-nobody-there", "evidence verify http://127.0.0.1:1/log"),
    ("evidence-verify-bad-policy", "evidence verify a1/evidence --policy one.yaml"),
    ("evidence-verify-missing-policy", "evidence verify a1/evidence --policy missing"),
    ("evidence-prove-bad-id", "evidence prove web-1 --log a1/evidence"),
    ("evidence-prove-not-begun", "evidence prove web-1/1/1 --log a1/evidence"),
    ("evidence-check-garbage", "evidence check one.yaml --policy a1/evidence/policy"),
    ("evidence-check-not-utf8", "evidence check garbage --policy a1/evidence/policy"),
    ("evidence-check-missing", "evidence check missing --policy a1/evidence/policy"),
    ("evidence-check-without-policy", "evidence check one.yaml"),
    ("check-run-pass", "check run passes.yaml"),
    ("check-run-fail", "check run fails.yaml"),
    ("check-run-unknown", "check run unknown.yaml"),
    ("check-run-all", "check run all.yaml"),
    ("check-run-one-of-all", "check run all.yaml --name passes"),
    ("check-run-no-such-name", "check run all.yaml --name nobody"),
    ("check-run-bad-file", "check run one.yaml"),
    ("check-run-missing-file", "check run missing.yaml"),
];

#[test]
fn every_command_line_says_what_its_golden_file_says() {
    let (target, dir) = (Target::start(), tempfile::tempdir().unwrap());
    furnish(dir.path(), target.address());
    let mut differences = Vec::new();
    for (name, line) in LINES {
        let line = line.replace("{target}", &target.address().to_string());
        let said = steady(&say(dir.path(), &line), dir.path(), target.address());
        let file = golden::dir("cli").join(format!("{name}.txt"));
        differences.extend(golden::difference(&file, &said));
    }
    golden::assert_none(&differences);
}

#[test]
fn every_golden_file_has_its_command_line() {
    for file in golden::files(&golden::dir("cli"), "txt") {
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(LINES.iter().any(|(line, _)| *line == name), "{name} belongs to no command line");
    }
}

#[test]
fn every_shell_has_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = program::must(&["completions", shell]);
        assert!(script.contains("proofmark") && script.contains("evidence"), "{shell}: {script}");
    }
}

/// Everything that the command lines name.
fn furnish(dir: &Path, target: SocketAddr) {
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).expect("written");
    for folder in ["empty", "specs", "specs/deeper"] {
        std::fs::create_dir(dir.join(folder)).expect("made");
    }
    let one = "apiVersion: proofmark/v1\nkind: Check\nmetadata: {name: One}\nspec: {}\n";
    let two = "apiVersion: openslo/v1\nkind: Slo\nmetadata: {}\n---\n- a list\n";
    for (name, text) in [("one.yaml", one), ("two.yaml", two)] {
        write(name, text.as_bytes());
    }
    write("specs/b.yaml", one.as_bytes());
    write("specs/deeper/a.yml", two.as_bytes());
    write("specs/notes.txt", b"not a spec");
    write("garbage", &[0xff, 0xfe, 0x00, 0x80]);
    write("garbled", b"{\"version\": 1, \"name\"");
    let only_mine = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(dir.join("garbled"), only_mine).expect("set");

    let passes = check("passes", &format!("http: {{url: \"http://{target}/\"}}"));
    let fails = check("fails", "tcp: {address: \"127.0.0.1:1\"}");
    // A baseline needs a place to be kept, which a run without an agent does not have.
    let unknown = check("unknown", &format!("files: {{path: \"{}/empty\"}}", path(dir)));
    write("passes.yaml", passes.as_bytes());
    write("fails.yaml", fails.as_bytes());
    write("unknown.yaml", unknown.as_bytes());
    write("all.yaml", [passes, fails, unknown].join("---\n").as_bytes());

    write("a1.yaml", replica("a1", "a1", "127.0.0.1:0").as_bytes());
    write("a2.yaml", replica("a2", "a2", "127.0.0.1:0").as_bytes());
    write("a1-renamed.yaml", replica("a2", "a1", "127.0.0.1:0").as_bytes());
    write("a1-port-taken.yaml", replica("a1", "a1", &target.to_string()).as_bytes());
    write("agent.yaml", b"name: web-1\ndata_dir: web-1\naggregators: [\"127.0.0.1:1\"]\n");
}

fn check(name: &str, probe: &str) -> String {
    format!(
        "apiVersion: proofmark/v1\nkind: Check\nmetadata: {{name: {name}}}\n\
         spec: {{interval: 10s, timeout: 2s, probe: {{{probe}}}}}\n"
    )
}

fn replica(node: &str, data: &str, http: &str) -> String {
    format!(
        "node: {node}\norigin: proofmark.test/cli\ndata_dir: {data}\n\
         listen: {{http: \"{http}\", grpc: \"127.0.0.1:0\", peers: \"127.0.0.1:0\"}}\nnodes:\n  \
         - {{id: 1, name: a1, grpc: \"127.0.0.1:1\", peers: \"127.0.0.1:2\"}}\n  \
         - {{id: 2, name: a2, grpc: \"127.0.0.1:3\", peers: \"127.0.0.1:4\"}}\n"
    )
}

/// One run as a golden file shows it.
fn say(dir: &Path, line: &str) -> String {
    let args: Vec<&str> = line.split_whitespace().collect();
    let output = program::run_in(dir, &args);
    let exit = output.status.code().map_or("by a signal".to_owned(), |code| code.to_string());
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let line = format!("proofmark {line}");
    format!("$ {}\nexit: {exit}\n--- stdout\n{stdout}--- stderr\n{stderr}", line.trim_end())
}

/// Places and times move from run to run; nothing else may.
fn steady(said: &str, dir: &Path, target: SocketAddr) -> String {
    let said = said.replace(path(dir), "<dir>").replace(&target.to_string(), "<target>");
    let is_measured = said.contains("MEASURED");
    said.lines()
        .map(|line| if is_measured { without_times(line) } else { line.into() } + "\n")
        .collect()
}

/// A table with measured times: its columns are as wide as the numbers, so both go.
fn without_times(line: &str) -> String {
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    for at in 0..words.len() {
        if words.get(at + 1).is_some_and(|next| next == "us") {
            words[at] = "<n>".to_owned();
        }
        if let Some((kind, _)) = words[at].split_once("_us=") {
            words[at] = format!("{kind}_us=<n>");
        }
    }
    words.join(" ")
}
