//! The mediator's side of a launch: what it hears of the server, and its word that the caller knows.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::Error;
use crate::supervisor::report::Report;
use crate::supervisor::{self, LONGEST_ENDING};

/// The mediator's side of the two pipes to the supervisor.
#[derive(Debug)]
pub struct Link {
    reports: File,
    delivery: OwnedFd,
}

impl Link {
    /// Joins the mediator's ends of the two pipes.
    #[must_use]
    pub fn new(reports: File, delivery: OwnedFd) -> Self {
        Self { reports, delivery }
    }

    /// Reads the next report; to be called when there is one.
    pub fn read_report(&mut self) -> Result<Report, Error> {
        Report::read(&mut self.reports)
            // The pipe ended without a word: somebody has killed the supervisor.
            .map_err(|_| Error::LaunchFailed {
                step: "the supervisor has ended".to_owned(),
                errno: Errno::EPIPE,
            })
    }

    /// What the server wrote last, after [`Report::Ended`].
    pub fn read_tail(&mut self) -> Vec<u8> {
        let mut tail = Vec::new();
        let _ = (&mut self.reports).take(supervisor::TAIL_BYTES as u64).read_to_end(&mut tail);
        tail
    }

    /// Tells the supervisor that the caller has its reply: from now on the server stays.
    pub fn confirm_delivery(self) {
        if let Err(errno) = nix::unistd::write(&self.delivery, &[supervisor::DELIVERED]) {
            log::debug!("the supervisor has ended already: {errno}");
        }
    }

    /// Lets the supervisor end the server, and waits until the server has ended.
    pub fn wait_for_undoing(self) {
        drop(self.delivery);
        let mut reports = self.reports;
        let timeout = PollTimeout::try_from(LONGEST_ENDING).unwrap_or(PollTimeout::MAX);
        let mut bytes = [0; 512];
        loop {
            let mut watched = [PollFd::new(reports.as_fd(), PollFlags::POLLIN)];
            if poll(&mut watched, timeout).is_ok_and(|ready| ready == 0) {
                return;
            }
            if !reports.read(&mut bytes).is_ok_and(|count| count > 0) {
                return;
            }
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reports.as_fd()
    }
}
