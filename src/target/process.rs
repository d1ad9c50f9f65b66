//! A running server: identifies its process beyond doubt, and acts on it.
//!
//! A pid alone does not identify a process, since the kernel reuses it. Pid, start time and boot together do.
//! A pidfd refers to the same process from the moment it is opened.

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

/// One of the target's processes, held by a descriptor.
#[derive(Debug)]
pub struct Process {
    pidfd: Pidfd,
    /// Its pid.
    pub pid: Pid,
}

impl Process {
    /// Opens the process that `identity` names; `None` if it does not exist (any more), or if its pid now
    /// belongs to a process that started at another time.
    ///
    /// # Errors
    /// [`Error::KernelUnsupported`] if the kernel has no pidfd, [`Error::SystemError`] if no descriptor is
    /// left for us.
    pub fn open(identity: &Identity, _: &Unprivileged) -> Result<Option<Self>, Error> {
        let pidfd = match Pidfd::open(identity.pid) {
            Ok(pidfd) => pidfd,
            Err(Errno::ENOSYS) => return Err(Error::KernelUnsupported),
            // EINVAL: the number is that of a thread, not of a process.
            Err(Errno::ESRCH | Errno::EINVAL) => return Ok(None),
            Err(errno) => return Err(Error::SystemError { step: "pidfd_open", errno }),
        };
        // The order matters: what /proc says now is about the process that the descriptor holds, or there is
        // no such process, since the kernel does not reuse its pid until it is reaped.
        if identity.started.is_some() && identity.started != Started::of(identity.pid) {
            return Ok(None);
        }
        Ok(Some(Self { pidfd, pid: identity.pid }))
    }

    /// Holds the process that has this pid now, even another account's, to wait for its end.
    ///
    /// # Errors
    /// What pidfd_open(2) says.
    pub fn hold(pid: Pid) -> Result<Self, Errno> {
        Ok(Self { pidfd: Pidfd::open(pid)?, pid })
    }

    /// Sends a signal. Signal 0 only tests.
    ///
    /// # Errors
    /// What pidfd_send_signal(2) says: ESRCH, EPERM, or EINVAL for a number that is not a signal.
    pub fn signal(&self, signal: i32) -> Result<(), Errno> {
        self.pidfd.send_signal(signal)
    }

    /// Waits until the process has ended or the time is over, and returns whether it has ended.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> bool {
        self.pidfd.wait_for_end(limit)
    }

    /// Whether the process has not ended. One that only waits to be reaped has ended.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.wait(Duration::ZERO)
    }

    /// A descriptor to poll for the end of the process.
    #[must_use]
    pub fn to_poll(&self) -> PollFd<'_> {
        PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)
    }
}

/// Sends the signal of a request, and returns whether the server is alive. As with the Python sudospawner,
/// the answer is no if the process is gone or another account's, or if the number is not a signal.
///
/// # Errors
/// Those of [`Process::open`].
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

/// Waits at most `limit` until one of the processes has ended. Returns for each whether it has.
fn poll_for_end(processes: &[&Process], limit: Duration) -> Result<Vec<bool>, Errno> {
    let mut descriptors: Vec<PollFd<'_>> =
        processes.iter().map(|process| process.to_poll()).collect();
    wait_for_any(&mut descriptors, limit)
}
