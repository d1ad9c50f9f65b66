//! A running server: which process it is, beyond doubt, and what can be done with it.
//!
//! A pid alone is no identity, since the kernel gives it anew. Pid, start time and boot together
//! are, and a pidfd keeps meaning the same process from the moment it is opened.

pub mod census;
pub mod identity;
pub mod stat;
pub mod stop;
pub mod usage;

use std::os::fd::AsFd;
use std::time::Duration;

use ground::pidfd::Pidfd;
use ground::waiting::wait_for_any;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::unistd::Pid;
use root::privileges::Unprivileged;

use self::identity::{Identity, Started};
use crate::error::Error;
use crate::request::Kill;

/// One process of the target's, held by a descriptor.
#[derive(Debug)]
pub struct Process {
    pidfd: Pidfd,
    /// Its pid.
    pub pid: Pid,
}

impl Process {
    /// Opens the process that `identity` names; `None` if there is none (any more), or if the pid
    /// now belongs to a process that began at another time.
    ///
    /// # Errors
    /// [`Error::KernelUnsupported`] where the kernel has no pidfd, [`Error::SystemError`] where it
    /// has no descriptor left for us.
    pub fn open(identity: &Identity, _: &Unprivileged) -> Result<Option<Self>, Error> {
        let pidfd = match Pidfd::open(identity.pid) {
            Ok(pidfd) => pidfd,
            Err(Errno::ENOSYS) => return Err(Error::KernelUnsupported),
            // EINVAL: the number is that of a thread, which is no process.
            Err(Errno::ESRCH | Errno::EINVAL) => return Ok(None),
            Err(errno) => return Err(Error::SystemError { step: "pidfd_open", errno }),
        };
        // The order matters: what /proc says now is about the process that the descriptor holds,
        // or about nothing, since its pid is not given anew while it has not been reaped.
        if identity.started.is_some() && identity.started != Started::of(identity.pid) {
            return Ok(None);
        }
        Ok(Some(Self { pidfd, pid: identity.pid }))
    }

    /// Holds whatever process has this pid now, be it another account's: to wait for its end.
    ///
    /// # Errors
    /// What pidfd_open(2) says.
    pub fn hold(pid: Pid) -> Result<Self, Errno> {
        Ok(Self { pidfd: Pidfd::open(pid)?, pid })
    }

    /// Sends a signal; whether the kernel took it. Signal 0 asks only.
    ///
    /// # Errors
    /// What pidfd_send_signal(2) says: ESRCH, EPERM, or EINVAL for a number that is no signal.
    pub fn signal(&self, signal: i32) -> Result<(), Errno> {
        self.pidfd.send_signal(signal)
    }

    /// Waits until the process has ended or the time is over; whether it has ended.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> bool {
        self.pidfd.wait_for_end(limit)
    }

    /// Whether the process has not ended; one that only waits for being reaped has.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.wait(Duration::ZERO)
    }

    /// The process, to be watched for its end among other things.
    #[must_use]
    pub fn to_poll(&self) -> PollFd<'_> {
        PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)
    }
}

/// Sends the signal of a request; whether the server is alive. As with the Python sudospawner, a
/// process that is gone, one of another account and a number that is no signal all count as "no".
///
/// # Errors
/// As [`Process::open`].
pub fn send_signal(request: &Kill, unprivileged: &Unprivileged) -> Result<bool, Error> {
    let Some(server) = Process::open(&request.server, unprivileged)? else {
        return Ok(false);
    };
    match server.signal(request.signal) {
        Ok(()) => Ok(true),
        Err(errno) => {
            log::error!(
                "signal {} to the process {}: {errno}. Assuming that the server is gone and its pid \
                 is another process's now",
                request.signal,
                server.pid
            );
            Ok(false)
        }
    }
}

/// Waits until one of the processes has ended, at most `limit`; for each, whether it has.
fn poll_for_end(processes: &[&Process], limit: Duration) -> Result<Vec<bool>, Errno> {
    let mut descriptors: Vec<PollFd<'_>> =
        processes.iter().map(|process| process.to_poll()).collect();
    wait_for_any(&mut descriptors, limit)
}
