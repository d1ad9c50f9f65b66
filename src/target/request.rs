//! Parses the bytes of stdin into a request whose every field is within its bounds.

pub mod about_job;
pub mod files;
mod input;
mod waits;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::time::Duration;

use nix::unistd::Pid;
use root::unit_properties::Limits;

use about_job::AboutJob;
use files::{Files, read_files};
use waits::{MAX_SECONDS, read_seconds, read_signal, to_duration};

use crate::error::Error;
use crate::json::{self, Fields};
use crate::process::identity::{Identity, Started};
use ground::server_name::ServerName;

/// The maximum size of a request, in bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The longest time until a request is complete.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);
/// The maximum number of a server's arguments.
const MAX_ARGS: usize = 4096;
/// The least memory that any server can run with, in bytes.
const MIN_MEMORY: i64 = 1 << 20;

/// How long the answer of the target's process may take: less than the class waits,
const PATIENCE: Duration = Duration::from_secs(25);
/// for a stop enough for supervisor and keeper to end what is left, in addition to what the request says,
const STOP_PATIENCE: Duration = Duration::from_secs(45);
/// and with what systemd may take for a unit.
const UNIT_PATIENCE: Duration = Duration::from_secs(600);

/// What the caller asks for.
#[derive(Debug)]
pub enum Request {
    /// Start the server.
    Spawn(Spawn),
    /// Send one signal to the server.
    Kill(Kill),
    /// End the server, and everything that it left behind.
    Stop(Stop),
    /// Report the state of the server.
    Status(Status),
    /// Any of these three, for a server in a job.
    AboutJob(AboutJob),
}

/// `{"action": "spawn"}`.
#[derive(Debug)]
pub struct Spawn {
    /// The server's arguments, without the executable.
    pub args: Vec<CString>,
    /// The environment that the caller asks for.
    pub env: BTreeMap<String, String>,
    /// What the server is to have as files.
    pub files: Files,
    /// Which of the target's servers this is.
    pub server_name: ServerName,
    /// Whether, and for how long, to wait until the server listens.
    pub wait: Option<Wait>,
    /// The profile that its job is to have, by name.
    pub profile: Option<String>,
    /// The limits that it asks for.
    pub limits: Limits,
    /// Whether to write events to stdout before the reply.
    pub events: bool,
}

/// How long to wait for which port.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// The TCP port that the server will listen on. `None` if a node chooses it.
    pub port: Option<u16>,
    /// The longest time to wait.
    pub limit: Duration,
}

/// `{"action": "kill"}`.
#[derive(Debug)]
pub struct Kill {
    /// The process.
    pub server: Identity,
    /// The signal's number. 0 only tests. With a number that is not a signal, nothing counts as alive.
    pub signal: i32,
    /// Which of the target's servers this is.
    pub server_name: ServerName,
    /// The unit that it runs in, as in the reply to its spawn.
    pub unit: Option<String>,
}

/// `{"action": "stop"}`.
#[derive(Debug)]
pub struct Stop {
    /// The process.
    pub server: Identity,
    /// How long to wait after SIGINT; zero skips the signal.
    pub interrupt: Duration,
    /// How long to wait after SIGTERM; zero skips the signal.
    pub term: Duration,
    /// How long to wait after SIGKILL, which is always sent.
    pub kill: Duration,
    /// Which of the target's servers this is.
    pub server_name: ServerName,
    /// The unit that it runs in, as in the reply to its spawn.
    pub unit: Option<String>,
}

/// `{"action": "status"}`.
#[derive(Debug)]
pub struct Status {
    /// The process.
    pub server: Identity,
    /// Which of the target's servers this is.
    pub server_name: ServerName,
    /// The unit that it runs in, as in the reply to its spawn.
    pub unit: Option<String>,
}

impl Request {
    /// Parses the bytes of one request.
    ///
    /// # Errors
    /// [`Error::MalformedRequest`] and [`ServerNameTooLong`](ground::denial::Denial::ServerNameTooLong).
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut fields = Fields::parse(bytes)?;
        let action = fields.require("action", json::read_text)?;
        let server_name = fields
            .take("server_name", json::read_text)?
            .map_or_else(|| Ok(ServerName::default()), ServerName::parse_asked)?;
        let job = match action.as_str() {
            "kill" | "stop" | "status" => fields.take("job", about_job::read_job)?,
            _ => None,
        };
        if let Some(job) = job {
            let about = AboutJob::read(job, &action, server_name, &mut fields)?;
            fields.finish()?;
            return Ok(Self::AboutJob(about));
        }
        let request = match action.as_str() {
            "spawn" => Self::Spawn(Spawn {
                args: read_args(&mut fields)?,
                env: read_env(&mut fields)?,
                files: read_files(&mut fields)?,
                server_name,
                wait: read_wait(&mut fields)?,
                profile: fields.take("profile", json::read_text)?,
                limits: read_limits(&mut fields)?,
                events: fields.take("events", json::read_boolean)?.unwrap_or(false),
            }),
            "kill" => Self::Kill(Kill {
                server: read_identity(&mut fields)?,
                signal: read_signal(&mut fields)?,
                server_name,
                unit: read_unit(&mut fields)?,
            }),
            "stop" => Self::Stop(Stop {
                server: read_identity(&mut fields)?,
                // The defaults are those of JupyterHub 6's LocalProcessSpawner.
                interrupt: read_seconds(&mut fields, "interrupt_seconds", 30)?,
                term: read_seconds(&mut fields, "term_seconds", 30)?,
                kill: read_seconds(&mut fields, "kill_seconds", 5)?,
                server_name,
                unit: read_unit(&mut fields)?,
            }),
            "status" => Self::Status(Status {
                server: read_identity(&mut fields)?,
                server_name,
                unit: read_unit(&mut fields)?,
            }),
            _ => {
                return Err(Error::MalformedRequest(
                    "the field \"action\" has to be spawn, kill, stop or status".to_owned(),
                ));
            }
        };
        fields.finish()?;
        Ok(request)
    }

    /// The name of the server that it is about.
    #[must_use]
    pub fn server_name(&self) -> &ServerName {
        match self {
            Self::Spawn(Spawn { server_name, .. })
            | Self::Kill(Kill { server_name, .. })
            | Self::Stop(Stop { server_name, .. })
            | Self::Status(Status { server_name, .. })
            | Self::AboutJob(AboutJob { server_name, .. }) => server_name,
        }
    }

    /// The unit that it names. An empty name counts as none.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        match self {
            Self::Spawn(_) | Self::AboutJob(_) => None,
            Self::Kill(Kill { unit, .. })
            | Self::Stop(Stop { unit, .. })
            | Self::Status(Status { unit, .. }) => unit.as_deref(),
        }
    }

    /// How long to wait for the answer of the process that carries it out. A unit is asked about, and systemd may
    /// be slow.
    #[must_use]
    pub fn longest(&self, is_in_unit: bool) -> Duration {
        let own = match self {
            Self::Stop(Stop { interrupt, term, kill, .. }) => {
                STOP_PATIENCE.saturating_add(*interrupt).saturating_add(*term).saturating_add(*kill)
            }
            Self::AboutJob(about) => STOP_PATIENCE.saturating_add(about.longest_wait()),
            Self::Spawn(_) | Self::Kill(_) | Self::Status(_) => PATIENCE,
        };
        if is_in_unit { own.saturating_add(UNIT_PATIENCE) } else { own }
    }

    /// The action's name, for the audit line.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::Spawn(_) => "spawn",
            Self::Kill(_) => "kill",
            Self::Stop(_) => "stop",
            Self::Status(_) => "status",
            Self::AboutJob(about) => about.action(),
        }
    }
}

fn read_args(fields: &mut Fields) -> Result<Vec<CString>, Error> {
    fields
        .require("args", json::read_texts(MAX_ARGS))?
        .into_iter()
        .map(|arg| {
            // Unreachable: the JSON tree has already refused NUL.
            CString::new(arg).map_err(|_| Error::MalformedRequest("NUL in args".to_owned()))
        })
        .collect()
}

fn read_env(fields: &mut Fields) -> Result<BTreeMap<String, String>, Error> {
    let env = fields.require("env", json::read_text_by_name)?;
    match env.keys().find(|name| name.is_empty() || name.contains('=')) {
        None => Ok(env),
        Some(name) => Err(Error::MalformedRequest(format!(
            "the field \"env\" has a name that no variable can have: {name:?}"
        ))),
    }
}

fn read_wait(fields: &mut Fields) -> Result<Option<Wait>, Error> {
    let Some(mut wait) = fields.take("wait", json::read_fields)? else {
        return Ok(None);
    };
    let port = wait.take("port", json::read_integer(1..=65535))?;
    let limit = to_duration(wait.require("seconds", json::read_number(0.0..=MAX_SECONDS))?)?;
    wait.finish()?;
    Ok(Some(Wait { port: port.and_then(|port| u16::try_from(port).ok()), limit }))
}

fn read_limits(fields: &mut Fields) -> Result<Limits, Error> {
    let Some(mut limits) = fields.take("limits", json::read_fields)? else {
        return Ok(Limits::default());
    };
    let memory = limits.take("memory", json::read_integer(MIN_MEMORY..=i64::MAX))?;
    let cpus = limits.take("cpus", json::read_number(0.01..=4096.0))?;
    limits.finish()?;
    Ok(Limits { memory: memory.and_then(|bytes| u64::try_from(bytes).ok()), cpus })
}

fn read_unit(fields: &mut Fields) -> Result<Option<String>, Error> {
    Ok(fields.take("unit", json::read_text)?.filter(|unit| !unit.is_empty()))
}

fn read_identity(fields: &mut Fields) -> Result<Identity, Error> {
    let pid = fields.require("pid", json::read_integer(1..=i64::from(i32::MAX)))?;
    let pid = i32::try_from(pid).map_err(|_| Error::MalformedRequest("pid".to_owned()))?;
    let started = fields.take("started", |value| {
        let text = json::read_text(value)?;
        Started::parse(&text).ok_or_else(|| "the string that the spawn's reply had".to_owned())
    })?;
    Ok(Identity { pid: Pid::from_raw(pid), started })
}
