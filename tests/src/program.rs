//! The real binary, as a child process that a test owns: started, read, killed, reaped.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::wait;

/// How long a program may take to say that it is ready. Patience is one constant, not sleeps.
const READY: Duration = Duration::from_secs(60);
/// How long a program may take to drain after SIGTERM.
const DRAIN: Duration = Duration::from_secs(30);
/// Lines kept between a program and the test that reads it.
const LINES_MAX: usize = 100_000;

/// The binary under test: `PROOFMARK_BIN`, as `cargo xtask test` sets it, else the debug build.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PROOFMARK_BIN") {
        return path.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let path = target.join("debug").join("proofmark");
    assert!(path.exists(), "{} is missing: run `cargo xtask test`", path.display());
    path
}

/// Runs a verb to its end.
pub fn run(args: &[&str]) -> Output {
    run_in(Path::new("."), args)
}

/// Runs a verb to its end in `dir`.
pub fn run_in(dir: &Path, args: &[&str]) -> Output {
    let output = Command::new(binary()).args(args).current_dir(dir).stdin(Stdio::null()).output();
    output.unwrap_or_else(|why| panic!("proofmark {args:?}: {why}"))
}

/// Runs a verb that must succeed; its standard output.
pub fn must(args: &[&str]) -> String {
    let output = run(args);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "proofmark {args:?}: {}\n{out}\n{err}", output.status);
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A daemon of ours. Dropping it kills it: no test leaves a process behind.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Program {
    /// Starts `proofmark ARGS` and waits for a standard output line that contains `ready`.
    /// Its log lines are appended to `log`.
    pub fn start(args: &[&str], dir: &Path, log: &Path, ready: &str) -> Program {
        let log_file = std::fs::OpenOptions::new().create(true).append(true).open(log);
        let mut child = Command::new(binary())
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file.expect("a log file beside the test's data"))
            .spawn()
            .unwrap_or_else(|why| panic!("proofmark {args:?}: {why}"));
        let lines = read_lines(child.stdout.take().expect("piped above"));
        let mut program = Program { child, lines, log: log.to_owned() };
        program.wait_for_line(ready);
        program
    }

    /// Waits for a standard output line that contains `part`, and returns it.
    pub fn wait_for_line(&mut self, part: &str) -> String {
        let deadline = wait::Deadline::after(READY);
        loop {
            match self.lines.recv_timeout(deadline.left()) {
                Ok(line) if line.contains(part) => return line,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("no line {part:?}\n{}", self.log_text()),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait();
                    panic!("ended ({status:?}) before line {part:?}\n{}", self.log_text());
                }
            }
        }
    }

    /// The child's process id, for /proc.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: no drain, no flush, nothing.
    pub fn kill(mut self) {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
    }

    /// SIGTERM, then waits for the drain.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        let deadline = wait::Deadline::after(DRAIN);
        loop {
            match self.child.try_wait().expect("the child is ours") {
                Some(status) => return status,
                None if deadline.passed() => panic!("did not drain\n{}", self.log_text()),
                None => wait::moment(),
            }
        }
    }

    /// Sends a signal by name to this child only.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {name} {pid}");
    }

    /// What it logged so far.
    pub fn log_text(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(60).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail when the child has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(stdout: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
