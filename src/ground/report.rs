//! What the processes of a launch tell the mediator.

use std::path::Path;
use std::str::FromStr;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::denial::Denial;
use crate::escape::{Lines, escape_control_characters};

/// One report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// In root mode: the target may have a server. These are its uid and its home.
    Admitted(u32, String),
    /// A hook is running or has run.
    Hook(HookResult),
    /// Something that the Hub's log should say.
    Warning(String),
    /// The server's process exists; this is its pid.
    Server(i32),
    /// The server's process has found the server's file, and enters the directory that the server starts in.
    Found,
    /// The server's process is in its directory, and about to execute the server. It started at this time,
    /// in clock ticks since the boot.
    Entered(Option<u64>),
    /// There is no server, for a reason that root gave.
    Denied(Setback),
    /// There is no server.
    Failed(Setback),
    /// The server has ended; this was its last output.
    Ended(End, String),
    /// The state of the server's unit, as systemctl(1) shows it.
    Unit(String),
    /// The reply to a kill, a stop or a status, as the caller gets it.
    Answer(String),
    /// What Slurm says of the server's job.
    Job(JobNews),
    /// The server's job ended before its server listened.
    JobEnded {
        /// How its script ended.
        end: End,
        /// Slurm's word, if it says more.
        result: Option<String>,
        /// An explanation for people, in parentheses, or empty.
        hint: String,
        /// The last 4 KiB of its output, as text.
        tail: String,
    },
}

/// What Slurm says of a server's job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobNews {
    /// Its number.
    pub job: String,
    /// Which job that is, beyond its number.
    pub started: String,
    /// Slurm's word for its state.
    pub state: String,
    /// Why it waits.
    pub reason: Option<String>,
    /// When Slurm thinks that it starts.
    pub estimated_start: Option<String>,
    /// The node that it runs on. With a port, the node's address.
    pub host: Option<String>,
    /// The port on which the server listens there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<u16>,
}

impl From<Denial> for Report {
    fn from(denial: Denial) -> Self {
        let (code, exit_status) = denial.classify();
        Self::Denied(Setback { code: code.to_owned(), sentence: denial.to_string(), exit_status })
    }
}

/// What became of a hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HookResult {
    /// The file's name, or a path if the folder as a whole was refused.
    pub name: String,
    /// How it went.
    pub status: HookStatus,
    /// Its exit status.
    pub exit: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The last 4 KiB that it wrote, as text, or why it was not run.
    pub output: String,
}

/// How a hook went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookStatus {
    /// It is running now. Only in events.
    Running,
    /// It exited with status 0.
    Ok,
    /// It exited with another status, was killed, or could not be executed.
    Failed,
    /// It took too long, and was ended with everything that it had started.
    Timeout,
    /// It was not run, because accounts other than root could have written it.
    Refused,
}

impl HookResult {
    /// The result of a hook that is running, or that was not run at all.
    #[must_use]
    pub fn new(name: &Path, status: HookStatus, output: String) -> Self {
        let name = name.display().to_string();
        Self { name, status, exit: None, signal: None, seconds: 0.0, output }
    }

    /// How it went and its last output, as the end of a sentence on one line.
    #[must_use]
    pub fn explain(&self) -> String {
        let how = match (self.status, self.exit, self.signal) {
            (HookStatus::Timeout, ..) => "took too long".to_owned(),
            (HookStatus::Refused, ..) => "was refused".to_owned(),
            (_, Some(exit), _) => format!("exited with status {exit}"),
            (_, _, Some(signal)) => format!("was killed by signal {signal}"),
            _ => "failed".to_owned(),
        };
        format!("{how}: {}", escape_control_characters(self.output.trim().as_bytes(), Lines::One))
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

impl End {
    /// What systemd tells programs that run after a unit, in `EXIT_CODE` and `EXIT_STATUS` (systemd.exec(5)).
    #[must_use]
    pub fn from_systemd(code: &str, status: &str) -> Option<Self> {
        match code {
            "exited" => status.parse().ok().map(Self::Exited),
            _ => Signal::from_str(&format!("SIG{status}")).ok().map(|it| Self::Killed(it as i32)),
        }
    }

    /// Exit status and signal, of which one is empty.
    #[must_use]
    pub fn to_words(self) -> [String; 2] {
        match self {
            Self::Exited(status) => [status.to_string(), String::new()],
            Self::Killed(signal) => [String::new(), signal.to_string()],
        }
    }

    /// The number that Python's subprocess uses: the exit status, or the negative signal.
    #[must_use]
    pub fn as_upstream(&self) -> i32 {
        match *self {
            Self::Exited(status) => status,
            Self::Killed(signal) => signal.saturating_neg(),
        }
    }
}

/// A failure, as told to another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setback {
    /// Its code.
    pub code: String,
    /// Its sentence.
    pub sentence: String,
    /// The exit status that results from it.
    pub exit_status: u8,
}
