//! A kill, a stop or a status of a server in a job.

use std::fmt;
use std::time::Duration;

use ground::server_name::ServerName;
use nix::libc;
use serde::{Serialize, Serializer};

use super::waits::{read_seconds, read_signal};
use crate::error::Error;
use crate::json::{self, Fields, Json};

/// The first number that no job can have: Slurm's own values begin here, and one of them in a list makes squeue refuse
/// the whole list.
const FIRST_SPECIAL: u32 = 0xffff_fff0;

/// The number of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(u32);

impl JobId {
    /// Reads a number in decimal digits, as Slurm prints it; `None` for anything else, such as a task of an array.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        let number = text.parse().ok().filter(|number| *number < FIRST_SPECIAL && is_number);
        number.map(Self)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Serialize for JobId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A request about a job.
#[derive(Debug)]
pub struct AboutJob {
    /// The job.
    pub job: JobId,
    /// Which job that is, beyond its number, if the caller knows: as in the reply to its spawn.
    pub started: Option<String>,
    /// Which of the target's servers this is.
    pub server_name: ServerName,
    /// What to do.
    pub deed: Deed,
}

/// What to do about a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Send this signal to the server. 0 only asks.
    Kill(i32),
    /// End the server, and everything that it left behind.
    Stop {
        /// How long to wait after SIGINT; zero skips the signal.
        interrupt: Duration,
        /// How long to wait after the job has been cancelled.
        term: Duration,
        /// How much longer Slurm may take to kill it.
        kill: Duration,
    },
    /// Report its state.
    Status,
}

impl AboutJob {
    /// Reads the fields behind `job`.
    ///
    /// # Errors
    /// [`Error::MalformedRequest`].
    pub fn read(
        job: JobId,
        action: &str,
        server_name: ServerName,
        fields: &mut Fields,
    ) -> Result<Self, Error> {
        let started = fields.take("started", json::read_text)?;
        let deed = match action {
            "kill" => Deed::Kill(refuse_others(read_signal(fields)?)?),
            "stop" => Deed::Stop {
                interrupt: read_seconds(fields, "interrupt_seconds", 30)?,
                term: read_seconds(fields, "term_seconds", 30)?,
                kill: read_seconds(fields, "kill_seconds", 5)?,
            },
            _ => Deed::Status,
        };
        Ok(Self { job, started, server_name, deed })
    }

    /// The action's name, for the audit line.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self.deed {
            Deed::Kill(_) => "kill",
            Deed::Stop { .. } => "stop",
            Deed::Status => "status",
        }
    }

    /// How long the request itself says to wait.
    #[must_use]
    pub fn longest_wait(&self) -> Duration {
        match self.deed {
            Deed::Stop { interrupt, term, kill } => {
                interrupt.saturating_add(term).saturating_add(kill)
            }
            Deed::Kill(_) | Deed::Status => Duration::ZERO,
        }
    }
}

/// The job's process passes on no other signal, and some of them would end it.
fn refuse_others(signal: i32) -> Result<i32, Error> {
    match signal {
        0 | libc::SIGHUP | libc::SIGINT | libc::SIGKILL | libc::SIGTERM => Ok(signal),
        _ => Err(Error::MalformedRequest(format!(
            "a server in a job can get the signals 1, 2, 9 and 15, and 0 to ask; not {signal}"
        ))),
    }
}

/// Reads the number of a job.
///
/// # Errors
/// The expected form.
pub fn read_job(value: Json) -> Result<JobId, String> {
    let text = json::read_text(value)?;
    JobId::parse(&text).ok_or_else(|| "the string that the spawn's reply had".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_job_is_a_number_and_nothing_else() {
        assert_eq!(JobId::parse("1234").unwrap().to_string(), "1234");
        for wrong in [
            "",
            "0",
            "007",
            "1_2",
            "1+0",
            "+1",
            "-1",
            " 1",
            "1 ",
            "4294967294",
            "4294967296",
            "--all",
        ] {
            assert_eq!(JobId::parse(wrong), None, "{wrong:?}");
        }
    }
}
