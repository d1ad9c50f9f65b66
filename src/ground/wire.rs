//! The two pipes between the mediator and the processes of a launch: reports come to the mediator, and words
//! of one byte go back.
//!
//! A report is one JSON text on one line. The short ones are written whole or not at all (pipe(7),
//! PIPE_BUF); the long ones come while there is one writer only.

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
use crate::ending::LONGEST_ENDING;
use crate::report::Report;
use crate::waiting::wait_for_any;

/// The word of the mediator that the caller has its reply, or that nothing more will be asked.
pub const DELIVERED: u8 = b'd';
/// Words of the mediator to the monitor of a server in a unit: how the unit is,
pub const ASK_STATE: u8 = b's';
/// to end all of it,
pub const ASK_STOP: u8 = b't';
/// and what it said last, to the end of the pipe.
pub const ASK_JOURNAL: u8 = b'j';

/// As much as is written to a pipe at once without a wait, pipe(7).
const PIPE_BUF: usize = 4096;
/// How long a mediator may leave a full pipe unread.
const LONGEST_WRITE: Duration = Duration::from_secs(10);
/// A report has at most this many bytes: 4 KiB of output, escaped twice.
const MAX_REPORT: u64 = 256 * 1024;

/// The end of the two pipes that is in the process which starts the server.
#[derive(Debug)]
pub struct Wire {
    /// Takes reports.
    pub reports: File,
    /// Gives the mediator's words, or ends with the mediator.
    pub delivered: OwnedFd,
}

/// The mediator's end.
#[derive(Debug)]
pub struct Link {
    reports: BufReader<File>,
    delivery: OwnedFd,
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

    /// Writes a report. A mediator that has died needs none, nor does one that no longer reads.
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

/// Writes a report to the pipe of a wire.
pub fn send_to(reports: &mut File, report: &Report) {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    for part in line.chunks(PIPE_BUF) {
        // Where poll(2) says that a pipe can be written to, so many bytes fit.
        let mut watched = [PollFd::new(reports.as_fd(), PollFlags::POLLOUT)];
        let has_room = wait_for_any(&mut watched, LONGEST_WRITE);
        if !has_room.is_ok_and(|events| events.contains(&true)) || reports.write_all(part).is_err()
        {
            return;
        }
    }
}

impl Link {
    /// Reads the next report; to be called when there is one.
    ///
    /// # Errors
    /// [`Denial::LaunchFailed`] if whoever would write it has been killed.
    pub fn read_report(&mut self) -> Result<Report, Denial> {
        let mut line = Vec::new();
        let _ = (&mut self.reports).take(MAX_REPORT).read_until(b'\n', &mut line);
        serde_json::from_slice(&line)
            .map_err(|_| Denial::at("the supervisor has ended")(Errno::EPIPE))
    }

    /// Whether a report has been received already, so that the pipe need not be waited for.
    #[must_use]
    pub fn has_received(&self) -> bool {
        !self.reports.buffer().is_empty()
    }

    /// Everything that still comes, to the end of the pipe.
    pub fn read_rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = (&mut self.reports).take(MAX_REPORT).read_to_end(&mut rest);
        rest
    }

    /// Sends one of the words above.
    ///
    /// # Errors
    /// What write(2) says, EPIPE above all: supervisor or monitor have ended.
    pub fn send_word(&self, word: u8) -> Result<(), Errno> {
        write(&self.delivery, &[word]).map(drop)
    }

    /// Says that the caller has its reply, so that a server stays, or that nothing more will be asked. Whoever
    /// would hear it may have ended already.
    pub fn confirm_delivery(&self) {
        let _ = self.send_word(DELIVERED);
    }

    /// Lets the supervisor end the server, and waits until the server has ended.
    pub fn wait_for_undoing(self) {
        drop(self.delivery);
        let mut reports = self.reports.into_inner();
        let mut bytes = [0; 512];
        loop {
            let mut watched = [PollFd::new(reports.as_fd(), PollFlags::POLLIN)];
            let events = wait_for_any(&mut watched, LONGEST_ENDING);
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

/// Stdout, whose reader is the caller.
#[allow(clippy::disallowed_methods)]
#[must_use]
pub fn stdout_to_caller() -> impl AsFd {
    std::io::stdout()
}

/// Writes the text of `--help` and `--version`, the two calls that are answered to a person.
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
    use crate::report::{End, HookResult, HookStatus, Refusal};

    #[test]
    fn every_report_is_read_as_it_was_written() {
        let output = "\u{1}\"\\\n".repeat(2000);
        for report in [
            Report::Hook(HookResult::new("10-home".as_ref(), HookStatus::Refused, output.clone())),
            Report::Server(i32::MAX),
            Report::Refused(Refusal::Home(2)),
            Report::Refused(Refusal::Execution(13)),
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
