//! What the processes of a launch tell the mediator, and the two pipes between them.
//!
//! A report is one JSON text on one line. The short ones are written whole or not at all (pipe(7),
//! PIPE_BUF); the long ones come while there is one writer only.

use std::fs::File;
use std::io::{BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::{prctl, stat::Mode};
use nix::unistd::{dup2_stdin, dup2_stdout, pipe2, setsid};
use serde::{Deserialize, Serialize};

use crate::denial::Denial;
use crate::error::Setback;
use crate::hooks::HookResult;
use crate::process::End;
use crate::server::Refusal;

/// As much as is written to a pipe at once without a wait, pipe(7).
const PIPE_BUF: usize = 4096;
/// How long a mediator may leave a full pipe unread, in milliseconds.
const LONGEST_WRITE: u16 = 10_000;

/// One report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// A hook runs, or has run.
    Hook(HookResult),
    /// The server's process has been made; its pid.
    Server(i32),
    /// The server's process could not become the server.
    Refused(Refusal),
    /// There is no server, for a reason of root's.
    Denied(Denial),
    /// There is no server.
    Failed(Setback),
    /// The server has ended, and this was its last output.
    Ended(End, String),
    /// The state of the server's unit, as systemctl(1) shows it.
    Unit(String),
}

impl From<Denial> for Report {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl Report {
    /// Writes the report; a mediator that has died needs none, nor does one that has stopped to read.
    pub fn write(&self, pipe: &mut File) {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        for part in line.chunks(PIPE_BUF) {
            // Where poll(2) says that a pipe can be written to, so many bytes fit.
            let mut watched = [PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)];
            let has_room = poll(&mut watched, LONGEST_WRITE).is_ok_and(|ready| ready > 0);
            if !has_room || pipe.write_all(part).is_err() {
                return;
            }
        }
    }
}

/// The end of the two pipes that is in the process which starts the server.
#[derive(Debug)]
pub struct Wire {
    /// Takes reports.
    pub reports: File,
    /// Says that the caller has its reply, or ends with the mediator.
    pub delivered: OwnedFd,
}

/// The mediator's end.
#[derive(Debug)]
pub struct Link {
    /// Gives reports.
    pub reports: BufReader<File>,
    /// Takes the word that the caller has its reply.
    pub delivery: OwnedFd,
}

impl Wire {
    /// Opens both pipes. After a fork each side has to drop the other's end.
    ///
    /// # Errors
    /// [`Denial::LaunchFailed`].
    pub fn open() -> Result<(Self, Link), Denial> {
        let (report, reports) = pipe2(OFlag::O_CLOEXEC).map_err(Denial::at("pipe"))?;
        let (delivered, delivery) = pipe2(OFlag::O_CLOEXEC).map_err(Denial::at("pipe"))?;
        let link = Link { reports: BufReader::new(File::from(report)), delivery };
        Ok((Self { reports: File::from(reports), delivered }, link))
    }

    /// Leaves the caller's session, stdin and stdout, so that nothing but the wire is between us, and
    /// receives orphans from now on.
    ///
    /// # Errors
    /// [`Denial::LaunchFailed`].
    pub fn detach(&self) -> Result<(), Denial> {
        setsid().map_err(Denial::at("setsid"))?;
        prctl::set_child_subreaper(true).map_err(Denial::at("receiving orphans"))?;
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
        let null = null.map_err(Denial::at("opening /dev/null"))?;
        dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).map_err(Denial::at("dup2"))
    }

    /// Tells the mediator something.
    pub fn send(&mut self, report: &Report) {
        report.write(&mut self.reports);
    }

    /// Whether the mediator has ended.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        let mut watched = [PollFd::new(self.delivered.as_fd(), PollFlags::POLLIN)];
        poll(&mut watched, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::HookStatus;
    use nix::errno::Errno;

    #[test]
    fn every_report_is_read_as_it_was_written() {
        let output = "\u{1}\"\\\n".repeat(2000);
        for report in [
            Report::Hook(HookResult::new("10-home".as_ref(), HookStatus::Refused, output.clone())),
            Report::Server(i32::MAX),
            Report::Refused(Refusal::Home(2)),
            Report::Refused(Refusal::Execution(13)),
            Report::Denied(Denial::at("fork")(Errno::EAGAIN)),
            Report::Ended(End::Exited(3), output),
            Report::Ended(End::Killed(9), String::new()),
        ] {
            let (mut wire, mut link) = Wire::open().unwrap();
            wire.send(&report);
            drop(wire);
            assert_eq!(link.read_report().unwrap(), report);
            assert!(link.read_report().is_err(), "the pipe has ended");
        }
    }
}
