//! Holds a process by a descriptor: it stays the same process, whoever gets its pid after it has ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::system_calls;
use crate::waiting::wait_for_any;

/// A descriptor of pidfd_open(2). poll(2) calls it readable when the process has ended.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    /// Opens the process that has this pid now, whoever owns it.
    ///
    /// # Errors
    /// ESRCH for no such process, EINVAL for the number of a thread, ENOSYS before Linux 5.3.
    pub fn open(pid: Pid) -> Result<Self, Errno> {
        let pid = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(Errno::EINVAL)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty());
        pidfd.map(Self).map_err(|errno| Errno::from_raw(errno.raw_os_error()))
    }

    /// Sends a signal. The kernel decides which numbers are signals; zero only tests.
    ///
    /// # Errors
    /// ESRCH, EPERM, EINVAL: pidfd_send_signal(2).
    pub fn send_signal(&self, signal: i32) -> Result<(), Errno> {
        system_calls::send_signal(self.as_fd(), signal)
    }

    /// Waits at most `limit` for the process to end, and returns whether it has. This does not reap a child.
    #[must_use]
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        let begin = Instant::now();
        loop {
            let left = limit.saturating_sub(begin.elapsed());
            let mut watched = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
            match wait_for_any(&mut watched, left) {
                Ok(events) if events.contains(&true) => return true,
                Ok(_) if !left.is_zero() => {}
                Ok(_) | Err(_) => return false,
            }
        }
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
