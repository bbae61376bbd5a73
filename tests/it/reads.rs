//! What a read promises, on every replica: linearizable sees all that was acknowledged before it,
//! or is refused by name; stale is answered at once, by whoever is there, and says how old it is.

use proofmark_tests::api::{self, Answer};
use proofmark_tests::installation::{Installation, SETTLE};
use proofmark_tests::program::{self, must};
use proofmark_tests::{golden, wait};

const LINEARIZABLE: &str = "/api/v1/spec?consistency=linearizable";
const STALE: &str = "/api/v1/spec?consistency=stale";
/// Each of them is one fact that was acknowledged before the next question is asked.
const ROUNDS: usize = 5;

fn service(name: &str) -> String {
    format!("apiVersion: openslo/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{}}\n")
}

fn ask(installation: &Installation, at: usize, path: &str) -> Answer {
    let http = installation.replicas[at].http;
    api::ask(http, path).unwrap_or_else(|| panic!("replica {at}: {path}: silence"))
}

/// The first answer that is not refused: a machine short of time may take an election or two.
fn vouched(installation: &Installation, at: usize, path: &str) -> Answer {
    wait::until("a majority to vouch for an answer", SETTLE, || {
        let answer = ask(installation, at, path);
        (answer.status != 503).then_some(answer)
    })
}

fn revision(answer: &Answer) -> u64 {
    answer.json()["revision"].as_u64().unwrap_or_else(|| panic!("no spec: {}", answer.json()))
}

#[test]
fn what_was_acknowledged_is_read_on_every_replica() {
    let mut installation = Installation::start(3);
    for round in 0..ROUNDS {
        installation.apply("one.yaml", &service(&format!("s{round}")));
        for at in 0..3 {
            let answer = vouched(&installation, at, LINEARIZABLE);
            assert_eq!(revision(&answer), round as u64 + 1, "replica {at}");
            assert_eq!(answer.header("proofmark-consistency"), Some("linearizable"));
            assert_eq!(answer.number("proofmark-age-ms"), Some(0));
        }
        // Without a word it is the same; what a replica says of itself is not.
        let unsaid = vouched(&installation, round % 3, "/api/v1/spec");
        assert_eq!(unsaid.header("proofmark-consistency"), Some("linearizable"));
        let own = ask(&installation, round % 3, "/api/v1/health");
        assert_eq!(own.header("proofmark-consistency"), Some("stale"));
    }
    // Results are facts of the evidence, and wait for what writes it: "not there" is true as of
    // now.
    let missing = vouched(&installation, 1, "/api/v1/results/web-1/1/1");
    assert_eq!((missing.status, &missing.json()["slug"]), (404, &"no_such_result".into()));
    assert_eq!(missing.header("proofmark-consistency"), Some("linearizable"));
    for at in 0..3 {
        wait::until("a commit to be heard of, and seen", SETTLE, || {
            let stale = ask(&installation, at, STALE);
            stale.number("proofmark-age-ms").filter(|age_ms| *age_ms < 60_000)
        });
        installation.stop_replica(at);
    }
}

/// A replica that was away while the others went on, and comes back when they are cut off from it.
#[test]
fn a_replica_that_is_cut_off_reads_stale_and_says_so() {
    let mut installation = Installation::start(3);
    installation.apply("one.yaml", &service("one"));
    let away = (installation.leader() + 1) % 3;
    let others: Vec<usize> = (0..3).filter(|at| *at != away).collect();
    let seen = vouched(&installation, away, LINEARIZABLE);
    assert_eq!(revision(&seen), 1);

    // Alone it grows older, and does not pretend otherwise.
    others.iter().for_each(|at| installation.replicas[*at].signal("STOP"));
    wait::until("its age to grow", SETTLE, || {
        let stale = ask(&installation, away, STALE);
        assert_eq!((stale.status, revision(&stale)), (200, 1));
        assert_eq!(stale.header("proofmark-consistency"), Some("stale"));
        stale.number("proofmark-age-ms").filter(|age_ms| *age_ms > 3_000)
    });
    refused_by_name(&installation, away);
    others.iter().for_each(|at| installation.replicas[*at].signal("CONT"));

    installation.stop_replica(away);
    installation.leader();
    installation.apply("two.yaml", &service("two"));
    others.iter().for_each(|at| installation.replicas[*at].signal("STOP"));
    installation.start_replica(away);
    let stale = ask(&installation, away, STALE);
    assert_eq!((stale.status, revision(&stale)), (200, 1), "it cannot know of the second");
    assert_eq!(stale.number("proofmark-age-ms"), None, "nor how old it is");
    assert!(stale.number("proofmark-applied-index") > Some(0));
    refused_by_name(&installation, away);

    others.iter().for_each(|at| installation.replicas[*at].signal("CONT"));
    let fresh = vouched(&installation, away, LINEARIZABLE);
    assert_eq!(revision(&fresh), 2, "the first answer that is not refused has everything");
}

/// Over HTTP, and by the program.
fn refused_by_name(installation: &Installation, at: usize) {
    let refused = ask(installation, at, LINEARIZABLE);
    let retry = refused.header("retry-after").unwrap_or("-").to_owned();
    let said = format!(
        "GET {LINEARIZABLE}\n{}\nretry-after: {retry}\n{}\n",
        refused.status,
        String::from_utf8_lossy(&refused.body)
    );
    let file = golden::dir("api").join("read-without-majority.txt");
    golden::assert_none(&Vec::from_iter(golden::difference(&file, &said)));

    let server = format!("http://{}", installation.replicas[at].http);
    let asked = program::run(&["get", "agents", "--server", &server]);
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.code() == Some(69) && said.contains("read_index_unanswered"), "{said}");
    let asked = program::run(&["get", "agents", "--server", &server, "--consistency", "stale"]);
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.success() && said.starts_with("stale: "), "{said}");
    let own = must(&["get", "health", "--server", &server]);
    assert!(own.contains("serving"), "{own}");
}
