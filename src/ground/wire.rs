//! The two pipes between the mediator and the processes of a launch. Reports come to the mediator; words of
//! one byte go back.
//!
//! A report is one JSON text on one line. Short ones are written whole or not at all (pipe(7), PIPE_BUF).
//! Long ones come only while there is a single writer.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags};
use nix::sys::{prctl, stat::Mode};
use nix::unistd::{dup2_stdin, dup2_stdout, pipe2, setsid, write};

use crate::denial::Denial;
use crate::report::Report;
use crate::waiting::wait_for_any;

/// The mediator says that the caller has its reply, the agent that it will ask nothing more.
pub const DELIVERED: u8 = b'd';
/// The agent says the same of a unit that has ended, and can be forgotten when the caller has its reply.
pub const FORGET: u8 = b'f';
/// Both ask the monitor of a server in a unit for the unit's state,
pub const ASK_STATE: u8 = b's';
/// for its end,
pub const ASK_STOP: u8 = b't';
/// and for its last log lines, up to the end of the pipe.
pub const ASK_JOURNAL: u8 = b'j';

/// How much can be written to a pipe at once without waiting, pipe(7).
const PIPE_BUF: usize = 4096;
/// How long a mediator may leave a full pipe unread.
const LONGEST_WRITE: Duration = Duration::from_secs(10);
/// How many parts of reports are read while a server is being ended: more than hooks write, and no flood.
const MOST_PARTS: u32 = 4096;
/// The maximum size of a report in bytes: 4 KiB of output, escaped twice.
const MAX_REPORT: u64 = 256 * 1024;

/// The end of both pipes in the process that starts the server.
#[derive(Debug)]
pub struct Wire {
    /// Takes reports.
    pub reports: File,
    /// Carries the mediator's words, and closes when the mediator ends.
    pub delivered: OwnedFd,
    /// What a supervisor keeps open until it ends, and uses for nothing: the lock by which root knows that the
    /// server is there.
    pub held: Option<OwnedFd>,
}

/// The mediator's end.
#[derive(Debug)]
pub struct Link {
    reports: BufReader<File>,
    delivery: OwnedFd,
}

impl Wire {
    /// Opens both pipes. After a fork each side must drop the other's end.
    ///
    /// # Errors
    /// [`Denial::LaunchFailed`].
    pub fn open() -> Result<(Self, Link), Denial> {
        let (report, reports) = pipe2(OFlag::O_CLOEXEC).map_err(Denial::at("pipe"))?;
        let (delivered, delivery) = pipe2(OFlag::O_CLOEXEC).map_err(Denial::at("pipe"))?;
        let link = Link { reports: BufReader::new(File::from(report)), delivery };
        Ok((Self { reports: File::from(reports), delivered, held: None }, link))
    }

    /// Leaves the caller's session, stdin and stdout, so that only the wire connects us, and receives orphans
    /// from now on.
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

    /// Writes a report. It is lost if the mediator has died or no longer reads.
    pub fn send(&mut self, report: &Report) {
        send_to(&mut self.reports, report);
    }

    /// Whether the mediator has ended.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        let mut watched = [PollFd::new(self.delivered.as_fd(), PollFlags::POLLIN)];
        wait_for_any(&mut watched, Duration::ZERO).is_ok_and(|events| events.contains(&true))
    }
}

/// Writes a report to a wire's pipe.
pub fn send_to(reports: &mut File, report: &Report) {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    for part in line.chunks(PIPE_BUF) {
        // When poll(2) calls a pipe writable, this many bytes fit.
        let mut watched = [PollFd::new(reports.as_fd(), PollFlags::POLLOUT)];
        let has_room = wait_for_any(&mut watched, LONGEST_WRITE);
        if !has_room.is_ok_and(|events| events.contains(&true)) || reports.write_all(part).is_err()
        {
            return;
        }
    }
}

impl Link {
    /// Reads the next report. Call this only when there is one.
    ///
    /// # Errors
    /// [`Denial::LaunchFailed`] if the writer has been killed.
    pub fn read_report(&mut self) -> Result<Report, Denial> {
        let mut line = Vec::new();
        let _ = (&mut self.reports).take(MAX_REPORT).read_until(b'\n', &mut line);
        serde_json::from_slice(&line)
            .map_err(|_| Denial::at("the supervisor has ended")(Errno::EPIPE))
    }

    /// Whether a report has already been received, so that waiting for the pipe is not necessary.
    #[must_use]
    pub fn has_received(&self) -> bool {
        !self.reports.buffer().is_empty()
    }

    /// Reads everything that still comes, to the end of the pipe.
    pub fn read_rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = (&mut self.reports).take(MAX_REPORT).read_to_end(&mut rest);
        rest
    }

    /// Sends one of the words above.
    ///
    /// # Errors
    /// What write(2) says, usually EPIPE: the supervisor or monitor has ended.
    pub fn send_word(&self, word: u8) -> Result<(), Errno> {
        write(&self.delivery, &[word]).map(drop)
    }

    /// Says that the caller has its reply, so that a server stays, or that the mediator will ask nothing
    /// more. The reader may have ended already.
    pub fn confirm_delivery(&self) {
        let _ = self.send_word(DELIVERED);
    }

    /// Makes the supervisor end the server, and waits for that, at most this long between two reports.
    pub fn wait_for_undoing(self, limit: Duration) {
        drop(self.delivery);
        let mut reports = self.reports.into_inner();
        let mut bytes = [0; PIPE_BUF];
        for _ in 0..MOST_PARTS {
            let mut watched = [PollFd::new(reports.as_fd(), PollFlags::POLLIN)];
            let events = wait_for_any(&mut watched, limit);
            let is_there = events.is_ok_and(|events| events.contains(&true));
            if !is_there || !reports.read(&mut bytes).is_ok_and(|count| count > 0) {
                return;
            }
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reports.get_ref().as_fd()
    }
}

/// Stdout, which the caller reads.
#[allow(clippy::disallowed_methods)]
#[must_use]
pub fn stdout_to_caller() -> impl AsFd {
    std::io::stdout()
}

/// Writes the text of `--help` and `--version`, the two calls whose answer is for a person.
///
/// # Errors
/// What write(2) says.
#[allow(clippy::disallowed_methods)]
pub fn write_text(text: &str) -> std::io::Result<()> {
    std::io::stdout().write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{End, HookResult, HookStatus};

    #[test]
    fn every_report_is_read_as_it_was_written() {
        let output = "\u{1}\"\\\n".repeat(2000);
        for report in [
            Report::Hook(HookResult::new("10-home".as_ref(), HookStatus::Refused, output.clone())),
            Report::Server(i32::MAX),
            Report::Admitted(1001, "/home/zoe".to_owned()),
            Report::Entered(Some(4711)),
            Report::Answer("{\"ok\":true}".to_owned()),
            Denial::at("fork")(Errno::EAGAIN).into(),
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
