//! A line of code knows its room: the table behind "Rooms" in ARCHITECTURE.md.
//!
//! A limit has a room too: [`limits_elsewhere`].

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
        rooms: &["agent/src/clock.rs", "aggregator/src/clock.rs"],
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
            "aggregator/src/consensus",
            "aggregator/src/recorder",
            "aggregator/src/tables",
            "aggregator/src/identity",
            "aggregator/src/snapshot",
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
        rooms: &[], // nowhere yet
        why: "a monitor that starts programs is a way in; no check does so yet",
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
        words: &["HashMap", "HashSet", "f64", "f32", "_f64", "_f32"],
        within: &["slo/src", "aggregator/src/state"],
        rooms: &[],
        why: "same log, same state: no random order, no rounding that differs",
    },
    Rule {
        words: &["Clock", "crate::clock"],
        within: &["evidence/src", "spec/src", "slo/src", "aggregator/src/state"],
        rooms: &[],
        why: "the core has no world: an instant comes in with a command, or not at all",
    },
    Rule {
        words: &["crate::consensus", "super::consensus", "consensus::"],
        within: &["aggregator/src/api"],
        rooms: &[],
        why: "reads never touch Raft: a page knows views and nothing else",
    },
    Rule {
        words: &[
            "unbounded_channel",
            "mpsc::channel::<",
            "tokio::spawn",
            "thread::spawn",
            "thread::sleep",
        ],
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
    let rules = rules.filter(|rule| !under(&source.path, rule.rooms));
    let mut faults: Vec<String> = rules.flat_map(|rule| breaches(source, rule)).collect();
    faults.extend(limits_elsewhere(source));
    faults
}

/// A bound (`…_MAX`) or a fixed time (`Duration`) that is not in its crate's `limits.rs`, and a
/// limit there that nothing is said of.
fn limits_elsewhere(source: &Source) -> Vec<String> {
    if !under(&source.path, EVERYWHERE) {
        return Vec::new();
    }
    if source.path.ends_with("/src/limits.rs") {
        return unexplained_limits(source);
    }
    let limits = source.code().filter_map(|(number, line)| Some((number, limit(line)?)));
    let home = source.path.split('/').next().unwrap_or_default();
    let fault = |(number, name)| {
        format!("{}:{number}: `{name}` belongs in {home}/src/limits.rs", source.path)
    };
    limits.map(fault).collect()
}

fn unexplained_limits(source: &Source) -> Vec<String> {
    let lines: Vec<(usize, &str)> = source.shipped().collect();
    let pairs = lines.windows(2).filter(|pair| {
        pair[1].1.starts_with("pub const ") && !pair[0].1.trim_start().starts_with("///")
    });
    let fault = |pair: &[(usize, &str)]| {
        format!("{}:{}: a limit says its unit, reason and end", source.path, pair[1].0)
    };
    pairs.map(fault).collect()
}

/// The name of the limit that this line defines, if it defines one.
fn limit(line: &str) -> Option<&str> {
    let (before, definition) = line.split_once("const ")?;
    let (name, typed) = definition.split_once(": ")?;
    let is_item = before.trim().is_empty() || before.trim_start().starts_with("pub");
    (is_item && (name.ends_with("_MAX") || typed.starts_with("Duration"))).then_some(name)
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

/// The word stands by itself: `raft::` is not found in `draft::`, nor `.await` in `.await_it()`.
fn says(line: &str, word: &str) -> bool {
    let goes_on = |edge: Option<char>, beyond: Option<char>| {
        let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
        edge.is_some_and(char::is_alphanumeric) && beyond.is_some_and(is_of_name)
    };
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), &line[at + word.len()..]);
        !goes_on(word.chars().next(), before)
            && !goes_on(word.chars().next_back(), after.chars().next())
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
        check("spec/src/parse.rs", "self.await_news();", 0);
        check("spec/src/parse.rs", "news.await?;", 1);
        check("slo/src/fold.rs", "let half = 0.5_f64;", 1);
        check("slo/src/fold.rs", "fn fold(clock: &Clock) {}", 1);
        check("aggregator/src/state/mod.rs", "use crate::clock::Clock;", 1);
        check("aggregator/src/state/mod.rs", "Err(Refusal::ClockSkew { got_ms })", 0);
        check("aggregator/src/api/mod.rs", "use crate::consensus::ConsensusHandle;", 1);
        check("aggregator/src/ingest/mod.rs", "use crate::consensus::ConsensusHandle;", 0);
        check("agent/src/checks/tcp.rs", "std::process::Command::new(\"sh\")", 1);
    }

    #[test]
    fn a_limit_outside_limits_is_named() {
        let check = |path: &str, line: &str, faults: usize| {
            assert_eq!(check(&Source::new(path, line)).len(), faults, "{path}: {line}");
        };
        check("spec/src/parse.rs", "const DEPTH_MAX: usize = 10;", 1);
        check("spec/src/parse.rs", "    pub(crate) const DEPTH_MAX: usize = 10;", 1);
        check("cli/src/http.rs", "const TIMEOUT: Duration = Duration::from_secs(20);", 1);
        check("spec/src/limits.rs", "/// Why.\npub const DEPTH_MAX: usize = 10;", 0);
        check("spec/src/limits.rs", "/// Why.\npub const A: u8 = 1;\npub const B: u8 = 1;", 1);
        check("tests/src/sim.rs", "const DEPTH_MAX: usize = 10;", 0);
        check("spec/src/parse.rs", "const VERSION: u8 = 1;", 0);
        check("spec/src/parse.rs", "let depth = DEPTH_MAX: usize;", 0);
    }

    /// A room that was moved would silently stop to hold, or to excuse, anything.
    #[test]
    fn every_place_in_the_table_exists() {
        for rule in RULES {
            for place in rule.within.iter().chain(rule.rooms) {
                let path = crate::workspace::root().join(place);
                let exists = path.exists() || path.with_extension("rs").exists();
                assert!(exists, "{place}: no such file or folder ({})", rule.why);
            }
        }
    }

    #[test]
    fn tests_may_do_what_they_need() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    let x = 1.0_f64;\n}\n";
        assert_eq!(check(&Source::new("slo/src/fold.rs", text)), Vec::<String>::new());
    }
}
