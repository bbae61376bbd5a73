//! A line of code knows its room: the table of the design, section 3.

use super::source::Source;

/// If a shipped line of a file under `within` says one of `words`, it must be under `rooms`.
pub struct Rule {
    words: &'static [&'static str],
    within: &'static [&'static str],
    rooms: &'static [&'static str],
    why: &'static str,
}

const EVERYWHERE: &[&str] =
    &["evidence/src", "spec/src", "slo/src", "proto/src", "agent/src", "aggregator/src", "cli/src"];

pub const RULES: &[Rule] = &[
    Rule {
        words: &["tonic::", "prost::", "proofmark_proto"],
        within: EVERYWHERE,
        rooms: &[
            "proto/src",
            "agent/src/uplink",
            "agent/src/identity",
            "aggregator/src/identity",
            "aggregator/src/ingest",
            "aggregator/src/api",
            "aggregator/src/consensus",
            "cli/src/operator",
        ],
        why: "messages of the wire stay at the wire",
    },
    Rule {
        words: &["ring::signature", "Ed25519KeyPair", "ring::digest", "digest::SHA256"],
        within: EVERYWHERE,
        rooms: &["evidence/src"],
        why: "signing and hashing of evidence have one implementation, which strangers read",
    },
    Rule {
        words: &["raft::", "eraftpb"],
        within: EVERYWHERE,
        rooms: &["aggregator/src/consensus"],
        why: "the raft library is known to one room",
    },
    Rule {
        words: &["SystemTime::now", "Instant::now"],
        within: EVERYWHERE,
        rooms: &["agent/src/clock.rs", "aggregator/src/clock.rs", "cli/src/clock.rs"],
        why: "time enters a program at one place",
    },
    Rule {
        words: &["sync_all", "sync_data", "fdatasync", "fs::rename"],
        within: EVERYWHERE,
        rooms: &[
            "evidence/src/writer",
            "evidence/src/reader",
            "agent/src/spool",
            "agent/src/identity",
            "agent/src/durable",
            "aggregator/src/consensus",
            "aggregator/src/recorder",
            "aggregator/src/tables",
            "aggregator/src/identity",
        ],
        why: "who writes durably says what a crash leaves",
    },
    Rule {
        words: &["axum::", "hyper::server", "TcpListener"],
        within: EVERYWHERE,
        rooms: &[
            "aggregator/src/api",
            "aggregator/src/ingest",
            "aggregator/src/consensus",
            "aggregator/src/node",
            "agent/src/admin",
            "cli/src/up",
        ],
        why: "a server is a door; doors are few",
    },
    Rule {
        words: &["std::process::Command", "process::Command::new"],
        within: EVERYWHERE,
        rooms: &["agent/src/checks/exec"],
        why: "a monitor that starts programs is a way in",
    },
    Rule {
        words: &["async fn", ".await", "async move", "tokio::"],
        within: &[
            "evidence/src",
            "spec/src",
            "slo/src",
            "aggregator/src/state",
            "agent/src/schedule",
            "agent/src/batcher",
        ],
        rooms: &[],
        why: "the core has no world: no runtime, no waiting",
    },
    Rule {
        words: &["HashMap", "HashSet", "f64", "f32"],
        within: &["slo/src", "aggregator/src/state"],
        rooms: &[],
        why: "same log, same state: no random order, no rounding that differs",
    },
    Rule {
        words: &["unbounded_channel", "mpsc::channel::<", "tokio::spawn", "thread::spawn"],
        within: &["evidence/src", "spec/src", "slo/src", "aggregator/src/state"],
        rooms: &[],
        why: "pure rooms start nothing",
    },
    Rule {
        words: &["unbounded_channel", "tokio::spawn("],
        within: EVERYWHERE,
        rooms: &[],
        why: "every queue is bounded and every task has an owner",
    },
];

/// Every line of `source` that is in the wrong room.
pub fn check(source: &Source) -> Vec<String> {
    let rules = RULES.iter().filter(|rule| under(&source.path, rule.within));
    rules
        .filter(|rule| !under(&source.path, rule.rooms))
        .flat_map(|rule| breaches(source, rule))
        .collect()
}

fn breaches(source: &Source, rule: &Rule) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in source.code() {
        if let Some(word) = rule.words.iter().find(|word| says(line, word)) {
            let belongs =
                if rule.rooms.is_empty() { "nowhere here".into() } else { rule.rooms.join(", ") };
            found.push(format!(
                "{}:{number}: `{word}` belongs in {belongs}: {}",
                source.path, rule.why
            ));
        }
    }
    found
}

/// The word stands by itself: `raft::` is not found in `draft::`, nor `f64` in `utf64`.
fn says(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let first = word.chars().next().unwrap_or(' ');
        !(first.is_alphanumeric() && before.is_some_and(|c| c.is_alphanumeric() || c == '_'))
    })
}

fn under(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_the_wrong_room_is_named() {
        let check = |path: &str, line: &str, faults: usize| {
            assert_eq!(check(&Source::new(path, line)).len(), faults, "{path}: {line}");
        };
        check("slo/src/fold.rs", "let ratio = good as f64;", 1);
        check("slo/src/fold.rs", "let utf64 = 1; // f64 in a name is not the type", 0);
        check("slo/src/fold.rs", "    // f64 would round differently", 0);
        check("aggregator/src/state/mod.rs", "let now = SystemTime::now();", 1);
        check("aggregator/src/clock.rs", "let now = SystemTime::now();", 0);
        check("aggregator/src/views/mod.rs", "use raft::RawNode;", 1);
        check("aggregator/src/views/mod.rs", "let draft = draft::new();", 0);
        check("aggregator/src/consensus/driver.rs", "use raft::RawNode;", 0);
        check("spec/src/parse.rs", "async fn read() {}", 1);
    }

    #[test]
    fn tests_may_do_what_they_need() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    let x = 1.0_f64;\n}\n";
        assert_eq!(check(&Source::new("slo/src/fold.rs", text)), Vec::<String>::new());
    }
}
