//! Damage to every kind of file: `fsck` names it, and the next start does what `fsck` said.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proofmark_tests::golden_data::{copy, free_ports, lay_agent, lay_replica};
use proofmark_tests::installation::path;
use proofmark_tests::program::{Launch, Program};
use proofmark_tests::{api, golden_data, program, wait};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// What is done to a stopped program's directory.
#[derive(Clone, Copy, Debug)]
enum Damage {
    None,
    /// One bit, at so many thousandths of the file.
    Flip(&'static str, u64),
    /// The last bytes.
    Cut(&'static str, u64),
    Delete(&'static str),
    /// The first file's bytes under the second's name, and the other way round.
    Swap(&'static str, &'static str),
    Write(&'static str, &'static str),
    Readable(&'static str),
}

/// What the next start does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    GoesOn,
    Refuses,
    StopsServing,
}

use Damage::{Cut, Delete, Flip, Readable, Swap, Write};
use Start::{GoesOn, Refuses, StopsServing};

const RAFT: &str = "raft/00000000000000000001.raftlog";
const ENTRIES: &str = "evidence/tile/entries/000.p/12";
const TILE: &str = "evidence/tile/0/000.p/12";

/// The damage, a line of `fsck` (file and slug), and the start that follows.
const REPLICA: &[(Damage, &str, Start)] = &[
    (Damage::None, "", GoesOn),
    (Flip("identity/node.json", 500), "identity/node.json: identity", Refuses),
    (Delete("identity/node.json"), "identity/node.json: identity", Refuses),
    (Readable("identity/node.json"), "identity/node.json: identity", Refuses),
    (Flip(RAFT, 1), "raft_log_damaged", Refuses),
    (Flip(RAFT, 500), "raft_log_damaged", Refuses),
    (Cut(RAFT, 5), "raft_log_torn", GoesOn),
    (Cut(RAFT, 4_000), "raft: raft_log_lost", Refuses),
    (Delete(RAFT), "raft: raft_log_gone", Refuses),
    (Swap(RAFT, ENTRIES), "raft_log_damaged", Refuses),
    (Write("raft/junk.raftlog", "x"), "raft/junk.raftlog", Refuses),
    (Flip("evidence/policy", 500), "evidence/policy", Refuses),
    (Delete("evidence/policy"), "evidence/policy", Refuses),
    (Flip("evidence/checkpoint", 700), "evidence/checkpoint", Refuses),
    (Flip(TILE, 500), TILE, Refuses),
    (Delete(TILE), TILE, Refuses),
    (Cut(TILE, 7), TILE, Refuses),
    (Flip(ENTRIES, 500), ENTRIES, Refuses),
    (Cut(ENTRIES, 40), ENTRIES, Refuses),
    (Delete(ENTRIES), ENTRIES, Refuses),
    (Swap(TILE, ENTRIES), TILE, Refuses),
    (Flip("evidence/payload/000", 300), "evidence/payload/000", StopsServing),
    (Cut("evidence/payload/000", 9), "evidence/payload/000", Refuses),
    (Delete("evidence/payload/000"), "evidence/payload/000", Refuses),
    (Write("evidence/extra", "x"), "evidence/extra: file_unexpected", GoesOn),
    (Write("last_signed", "x"), "last_signed: last_signed", Refuses),
    (Write("last_signed", OTHER_SIGNED), "last_signed: signed_elsewhere", StopsServing),
    (Delete("last_signed"), "last_signed: last_signed_gone", GoesOn),
    (Flip("tables/db", 500), "tables: tables_", GoesOn),
    (Cut("tables/db", 2_000), "tables: tables_", GoesOn),
];

/// A root that nobody has, at a size that the log has.
const OTHER_SIGNED: &str = "proofmark.local/up\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

const SPOOL: &str = "spool/0000000001-00000000000000000001.spool";

const AGENT: &[(Damage, &str, Start)] = &[
    (Damage::None, "", GoesOn),
    (Flip("identity/signing.key", 500), "identity/signing.key: identity_malformed", Refuses),
    (Delete("identity/signing.key"), "identity/signing.key: identity_malformed", Refuses),
    (Readable("identity/signing.key"), "identity/signing.key: identity_exposed", Refuses),
    (Delete("identity/tls.key.pem"), "identity/tls.key.pem: identity_malformed", Refuses),
    (Write("identity/certificate.pem", "x"), "identity", Refuses),
    (Write("identity/policy", "x"), "identity/policy: identity_malformed", Refuses),
    (Write("identity/enrolment", "x"), "identity/enrolment: identity_malformed", Refuses),
    (Delete("identity/enrolment"), "identity/enrolment: identity_missing", Refuses),
    (Flip("specs", 500), "specs: specs_damaged", GoesOn),
    (Write("stopped", "x"), "stopped: stopped_damaged", GoesOn),
    (Flip(SPOOL, 500), "spool_damaged", GoesOn),
    (Flip(SPOOL, 0), "spool_damaged", GoesOn),
    (Cut(SPOOL, 3), "spool_torn", GoesOn),
];

#[test]
fn damage_to_a_replica_is_named_and_the_next_start_does_what_was_said() {
    each(REPLICA, |row| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let ports = free_ports();
        let config = lay_replica(&newest(), dir.path(), ports);
        let got = judge("aggregator", &config, row);
        let start = start_replica(dir.path(), &config, ports[0]);
        assert_eq!(start, row.2, "{row:?}\n{got}");
    });
}

#[test]
fn damage_to_an_agent_is_named_and_the_next_start_does_what_was_said() {
    each(AGENT, |row| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let config = lay_agent(&newest(), dir.path());
        let got = judge("agent", &config, row);
        let start = start_agent(dir.path(), &config);
        assert_eq!(start, row.2, "{row:?}\n{got}");
    });
}

/// Who is at work is not judged.
#[test]
fn a_directory_in_use_is_not_judged() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = lay_replica(&newest(), dir.path(), free_ports());
    let args = ["aggregator", "run", "--config", path(&config)];
    let running = Program::start(&args, dir.path(), &dir.path().join("log"), "ready");
    let output = program::run(&["aggregator", "fsck", "--config", path(&config)]);
    assert_eq!(output.status.code(), Some(74), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("in_use"), "{output:?}");
    assert!(running.stop().success());
}

fn newest() -> PathBuf {
    golden_data::all().pop().expect("one at least")
}

type Row = (Damage, &'static str, Start);

/// Rows do not know each other; a few at a time, since each mostly waits. Every one that fails has
/// said why.
fn each(rows: &[Row], check: impl Fn(&Row) + Sync) {
    const AT_ONCE: usize = 4;
    let fails = |row: &&Row| catch_unwind(AssertUnwindSafe(|| check(row))).is_err();
    let fails = &fails;
    let failed: Vec<&Row> = std::thread::scope(|scope| {
        let part = |first| move || rows.iter().skip(first).step_by(AT_ONCE).filter(fails).collect();
        let threads: Vec<_> = (0..AT_ONCE).map(|first| scope.spawn(part(first))).collect();
        threads.into_iter().flat_map(|one| -> Vec<&Row> { one.join().expect("caught") }).collect()
    });
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Does the damage; `fsck` must name it, change nothing, and end as its words say.
fn judge(program: &str, config: &Path, (damage, line, start): &Row) -> String {
    let data = config.with_file_name("data");
    damage.inflict(&data);
    let before = tempfile::tempdir().expect("a temporary folder");
    copy(&data, before.path());
    let output = program::run(&[program, "fsck", "--config", path(config)]);
    let got = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(got.contains(line), "{damage:?}: expected {line:?}, got {got}{errors}");
    let is_sound = got.contains("\nsound\n") || got.starts_with("sound\n");
    assert_eq!(output.status.code(), Some(if is_sound { 0 } else { 65 }), "{damage:?}\n{got}");
    let is_lasting = line.contains("spool_damaged") || line.contains("file_unexpected");
    let mends = *start == Start::GoesOn && !is_lasting;
    assert_eq!(is_sound, mends, "{damage:?}\n{got}");
    let json = program::run(&[program, "fsck", "--config", path(config), "-o", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["sound"], is_sound, "{damage:?}");
    same(before.path(), &data);
    got
}

fn same(before: &Path, after: &Path) {
    let args = ["-r", "--exclude=lock", path(before), path(after)];
    let diff = std::process::Command::new("diff").args(args).output().expect("diff runs");
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
}

/// How a start ends: not at all, in an error, or in a replica that does not serve.
fn start_replica(dir: &Path, config: &Path, http: std::net::SocketAddr) -> Start {
    let args = ["aggregator", "run", "--config", path(config)];
    let launch = Launch::default();
    let Ok(running) = Program::try_start(&launch, &args, dir, &dir.join("log"), "ready") else {
        return Refuses;
    };
    let begun = wait::until("a leader that serves, or one that stopped", PATIENCE, || {
        let health = api::json(http, "/api/v1/health")?;
        match health["status"].as_str()? {
            "serving" => {
                let grown = health["published_size"].as_u64()? > 12;
                let scrubbed = health["scrubbed_size"].as_u64()? >= 12;
                (grown && scrubbed).then_some(GoesOn)
            }
            _ => Some(StopsServing),
        }
    });
    assert!(running.stop().success(), "{}", fs::read_to_string(dir.join("log")).expect("a log"));
    begun
}

fn start_agent(dir: &Path, config: &Path) -> Start {
    let args = ["agent", "run", "--config", path(config)];
    match Program::try_start(&Launch::default(), &args, dir, &dir.join("log"), "ready") {
        Ok(running) => {
            running.stop();
            GoesOn
        }
        Err(_) => Refuses,
    }
}

impl Damage {
    fn inflict(self, data: &Path) {
        let read = |file: &str| fs::read(data.join(file)).expect(file);
        let write = |file: &str, bytes: &[u8]| {
            let path = data.join(file);
            fs::write(&path, bytes).expect(file);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect(file);
        };
        match self {
            Damage::None => {}
            Flip(file, thousandths) => {
                let mut bytes = read(file);
                let at = bytes.len() as u64 * thousandths / 1_000;
                bytes[usize::try_from(at).expect("small")] ^= 0x10;
                write(file, &bytes);
            }
            Cut(file, count) => {
                let bytes = read(file);
                write(file, &bytes[..bytes.len() - usize::try_from(count).expect("small")]);
            }
            Delete(file) => fs::remove_file(data.join(file)).expect(file),
            Swap(one, other) => {
                let (first, second) = (read(one), read(other));
                write(one, &second);
                write(other, &first);
            }
            Write(file, text) => write(file, text.as_bytes()),
            Readable(file) => {
                let mode = fs::Permissions::from_mode(0o644);
                fs::set_permissions(data.join(file), mode).expect(file);
            }
        }
    }
}
