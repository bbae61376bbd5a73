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

/// The build that a rolling upgrade leads to (`PROOFMARK_NEW_BIN`); without one there is one build.
pub fn newer_binary() -> Option<PathBuf> {
    std::env::var_os("PROOFMARK_NEW_BIN").map(PathBuf::from)
}

/// Runs a verb to its end.
pub fn run(args: &[&str]) -> Output {
    run_in(Path::new("."), args)
}

/// As [`run`], by the newest build there is.
pub fn run_newest(args: &[&str]) -> Output {
    output(&newer_binary().unwrap_or_else(binary), Path::new("."), args)
}

/// Runs a verb to its end in `dir`.
pub fn run_in(dir: &Path, args: &[&str]) -> Output {
    output(&binary(), dir, args)
}

fn output(program: &Path, dir: &Path, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).current_dir(dir).stdin(Stdio::null()).output();
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

/// Where and how a daemon is started; by default here, as this process was.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// The build to start, if it is not the one under test.
    pub program: Option<PathBuf>,
    /// The network namespace that it lives in.
    pub namespace: Option<String>,
    /// What its environment holds besides this process's.
    pub environment: Vec<(String, String)>,
}

/// A daemon that ended, or was ended, before it was ready.
#[derive(Debug)]
pub struct Ended {
    /// None when it said nothing for so long that it was killed.
    pub status: Option<ExitStatus>,
    pub log: String,
}

/// A daemon of ours. Dropping it kills it: no test leaves a process behind.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Launch {
    /// `program`, in its namespace. `ip netns exec` becomes the program, so the id is the program's.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = match &self.namespace {
            None => Command::new(program),
            Some(name) => {
                let mut inside = Command::new("ip");
                inside.args(["netns", "exec", name]).arg(program);
                inside
            }
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Program {
    /// Starts `proofmark ARGS` and waits for a standard output line that contains `ready`.
    /// Its log lines are appended to `log`.
    pub fn start(args: &[&str], dir: &Path, log: &Path, ready: &str) -> Program {
        let started = Program::try_start(&Launch::default(), args, dir, log, ready);
        started.unwrap_or_else(|ended| {
            panic!("ended ({:?}) before line {ready:?}\n{}", ended.status, ended.log)
        })
    }

    /// As [`Self::start`], for one that may refuse to start.
    ///
    /// # Errors
    /// It ended, or was not ready in time and was killed.
    pub fn try_start(
        launch: &Launch,
        args: &[&str],
        dir: &Path,
        log: &Path,
        ready: &str,
    ) -> Result<Program, Ended> {
        let program = launch.program.clone().unwrap_or_else(binary);
        let mut command = launch.command(&program);
        command.args(args).current_dir(dir);
        let mut program = Program::spawn(command, log);
        match program.next_line(ready) {
            Ok(_) => Ok(program),
            Err(status) => Err(Ended { status, log: program.log_text() }),
        }
    }

    /// Starts a command of any kind; its log lines are appended to `log`.
    pub fn spawn(mut command: Command, log: &Path) -> Program {
        let log_file = std::fs::OpenOptions::new().create(true).append(true).open(log);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file.expect("a log file beside the test's data"))
            .spawn()
            .unwrap_or_else(|why| panic!("{command:?}: {why}"));
        let lines = read_lines(child.stdout.take().expect("piped above"));
        Program { child, lines, log: log.to_owned() }
    }

    /// The next line that contains `part`, or how the program ended before (None: it did not).
    fn next_line(&mut self, part: &str) -> Result<String, Option<ExitStatus>> {
        let deadline = wait::Deadline::after(READY);
        loop {
            match self.lines.recv_timeout(deadline.left()) {
                Ok(line) if line.contains(part) => return Ok(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Err(None),
                Err(RecvTimeoutError::Disconnected) => return Err(self.child.wait().ok()),
            }
        }
    }

    /// Waits for a standard output line that contains `part`, and returns it.
    pub fn wait_for_line(&mut self, part: &str) -> String {
        let line = self.next_line(part);
        line.unwrap_or_else(|status| {
            panic!("no line {part:?} ({status:?})\n{}", self.log_text());
        })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child is ours")
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
            match self.ended() {
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
