//! The reply: one JSON object on one line. Nothing else is ever written to stdout.

use std::io::Write;
use std::time::Duration;

use nix::unistd::Pid;
use serde::Serialize;

use crate::error::Error;
use crate::process::identity::Started;
use crate::process::stop::Stopped;
use crate::process::usage::Usage;
use crate::request::about_job::JobId;
use ground::escape::{Lines, escape_control_characters};
use ground::report::{End, HookResult, JobNews};
use root::unit_properties::Limits;

/// What the caller is told, in the form described in `docs/protocol.md`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// A server was started.
    Spawned(Spawned),
    /// A server was started in a job.
    Submitted(Submitted),
    /// A signal was sent, or there was no process to send it to.
    Signalled {
        /// Always true.
        ok: bool,
        /// Whether the server was alive.
        alive: bool,
    },
    /// A server was stopped.
    Stopped {
        /// Always true.
        ok: bool,
        /// Whether it is alive in spite of all signals.
        alive: bool,
        /// How many processes that it left behind were ended.
        leftovers_killed: usize,
        /// How long it took.
        seconds: f64,
    },
    /// The state of a server.
    Status {
        /// Always true.
        ok: bool,
        /// Whether it is alive.
        alive: bool,
        /// What it uses, if it is alive.
        #[serde(flatten)]
        usage: Option<UsageFields>,
        /// How it ended, if known.
        #[serde(flatten)]
        end: Option<EndFields>,
    },
    /// The state of a server in a job.
    JobStatus(JobStatus),
    /// The call failed.
    Failed {
        /// Always false.
        ok: bool,
        /// The stable name of the failure.
        code: String,
        /// A sentence for a person.
        error: String,
        /// How the server ended, if that is what failed.
        #[serde(flatten)]
        early: Option<EarlyEndFields>,
        /// The results of the hooks that have run.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        hooks: Vec<HookResult>,
    },
}

/// The fields of the reply to a spawn.
#[derive(Debug, Serialize)]
pub struct Spawned {
    /// Always true.
    pub ok: bool,
    /// The server's pid.
    pub pid: i32,
    /// Which process that is, beyond its pid. Absent if it ended at once with status 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Started>,
    /// The unit that it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The limits for the server as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Whether it listens, if the request asked to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listening: Option<bool>,
    /// The results of root's hooks. User mode runs none.
    pub hooks: Vec<HookResult>,
    /// The variables that were not passed on.
    pub dropped_env: Vec<String>,
}

/// The fields of the reply to a spawn whose server is in a job.
#[derive(Debug, Serialize)]
pub struct Submitted {
    /// Always true.
    pub ok: bool,
    /// The job's number.
    pub job: String,
    /// Which job that is, beyond its number.
    pub started: String,
    /// The address of its node.
    pub host: Option<String>,
    /// The port on which the server listens there.
    pub port: u16,
    /// Always true.
    pub listening: bool,
    /// The profile that the request has named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The results of root's hooks. User mode runs none.
    pub hooks: Vec<HookResult>,
    /// The variables that were not passed on.
    pub dropped_env: Vec<String>,
}

/// The fields of a status reply about a job that has not ended.
#[derive(Debug, Serialize)]
pub struct JobStatus {
    /// Always true.
    pub ok: bool,
    /// Always true.
    pub alive: bool,
    /// The job's number.
    pub job: JobId,
    /// Slurm's word for its state.
    pub state: String,
    /// Its node.
    pub host: Option<String>,
    /// The owner's uid.
    pub uid: u32,
    /// For how many seconds it has been running.
    pub uptime: f64,
    /// For how many seconds it may still run.
    pub remaining: Option<f64>,
}

/// How a server has ended.
#[derive(Debug, Serialize)]
pub struct EndFields {
    exit: Option<i32>,
    signal: Option<i32>,
    /// Why, in systemd's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
}

impl EndFields {
    fn new(end: End, result: Option<String>) -> Self {
        Self {
            exit: if let End::Exited(status) = end { Some(status) } else { None },
            signal: if let End::Killed(signal) = end { Some(signal) } else { None },
            result,
        }
    }
}

/// The fields of a status reply about a live server.
#[derive(Debug, Serialize)]
pub struct UsageFields {
    uid: u32,
    uptime: f64,
    memory: u64,
    cpu_seconds: f64,
    processes: usize,
}

/// The fields of a failure that is an early end.
#[derive(Debug, Serialize)]
pub struct EarlyEndFields {
    #[serde(flatten)]
    end: EndFields,
    stderr: String,
}

/// An event before the reply.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A hook is running or has run: `status` says which.
    Hook(HookResult),
    /// The server's process exists. It may not listen yet.
    Started {
        /// Its pid.
        pid: i32,
        /// Which process that is.
        started: Option<Started>,
    },
    /// What Slurm says of the server's job.
    Job(JobNews),
}

impl Reply {
    /// The reply to a signal.
    #[must_use]
    pub fn signalled(alive: bool) -> Self {
        Self::Signalled { ok: true, alive }
    }

    /// The reply to a stop.
    #[must_use]
    pub fn stopped(stopped: Stopped) -> Self {
        Self::Stopped {
            ok: true,
            alive: stopped.alive,
            leftovers_killed: stopped.leftovers_killed,
            seconds: in_seconds(stopped.took),
        }
    }

    /// The reply to a status request.
    #[must_use]
    pub fn status(usage: Option<Usage>) -> Self {
        Self::Status {
            ok: true,
            alive: usage.is_some(),
            usage: usage.map(|usage| UsageFields {
                uid: usage.uid,
                uptime: in_seconds(usage.uptime),
                memory: usage.memory,
                cpu_seconds: in_seconds(usage.cpu),
                processes: usage.processes,
            }),
            end: None,
        }
    }

    /// The reply to a status request about a server that has ended.
    #[must_use]
    pub fn ended(end: Option<End>, result: Option<String>) -> Self {
        let end = end.map(|end| EndFields::new(end, result));
        Self::Status { ok: true, alive: false, usage: None, end }
    }

    /// The reply for every failure.
    #[must_use]
    pub fn failed(error: &Error, hooks: Vec<HookResult>) -> Self {
        let early = match error {
            Error::ExitedEarly { end, result, stderr, .. } => Some(EarlyEndFields {
                end: EndFields::new(*end, result.clone()),
                stderr: stderr.clone(),
            }),
            _ => None,
        };
        let error_text = escape_control_characters(error.to_string().as_bytes(), Lines::One);
        Self::Failed { ok: false, code: error.code().to_owned(), error: error_text, early, hooks }
    }

    /// The reply's text, for the process that writes it.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Writes the reply. If the caller does not get it, everything done for the reply has to be undone.
    ///
    /// # Errors
    /// What write(2) says.
    pub fn write(&self) -> std::io::Result<()> {
        write_line(self)
    }
}

impl Event {
    /// The event that a server's process exists.
    #[must_use]
    pub fn started(pid: Pid, started: Option<Started>) -> Self {
        Self::Started { pid: pid.as_raw(), started }
    }

    /// The event of a hook.
    #[must_use]
    pub fn hook(result: &HookResult) -> Self {
        Self::Hook(result.clone())
    }

    /// Writes the event. If the caller is gone, the wait for the server will notice.
    pub fn write(&self) {
        if let Err(error) = write_line(self) {
            log::debug!("an event could not be written: {error}");
        }
    }
}

fn write_line(value: &impl Serialize) -> std::io::Result<()> {
    write_answer(&serde_json::to_string(value)?)
}

/// Writes the text of a reply.
///
/// # Errors
/// What write(2) says.
#[allow(clippy::disallowed_methods)]
pub fn write_answer(text: &str) -> std::io::Result<()> {
    let line = format!("{text}\n");
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.flush()
}

/// Converts to seconds, rounded down to milliseconds.
fn in_seconds(duration: Duration) -> f64 {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}
