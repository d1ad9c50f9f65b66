//! The mediator's side of a launch: what it hears of the server, and its word that the caller knows.

use std::io::{BufRead, Read};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::Error;
pub use crate::report::Link;
use crate::report::Report;
use crate::supervisor::{self, LONGEST_ENDING};

/// A report has at most this many bytes: 4 KiB of output, escaped twice.
const MAX_REPORT: u64 = 256 * 1024;

impl Link {
    /// Reads the next report; to be called when there is one.
    ///
    /// # Errors
    /// [`Denial::LaunchFailed`](crate::denial::Denial::LaunchFailed) if whoever would write it has
    /// been killed.
    pub fn read_report(&mut self) -> Result<Report, Error> {
        let mut line = Vec::new();
        let _ = (&mut self.reports).take(MAX_REPORT).read_until(b'\n', &mut line);
        serde_json::from_slice(&line)
            .map_err(|_| Error::at("the supervisor has ended")(Errno::EPIPE))
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

    /// Says that the caller has its reply, so that a server stays, or that nothing more will be asked.
    pub fn confirm_delivery(&self) {
        if let Err(errno) = nix::unistd::write(&self.delivery, &[supervisor::DELIVERED]) {
            log::debug!("supervisor or monitor have ended already: {errno}");
        }
    }

    /// Lets the supervisor end the server, and waits until the server has ended.
    pub fn wait_for_undoing(self) {
        drop(self.delivery);
        let mut reports = self.reports.into_inner();
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
        self.reports.get_ref().as_fd()
    }
}
