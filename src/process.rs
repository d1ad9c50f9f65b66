//! A running server: which process it is, beyond doubt, and what can be done with it.
//!
//! A pid alone is no identity, since the kernel gives it anew. Pid, start time and boot together
//! are, and a pidfd keeps meaning the same process from the moment it is opened.

pub mod stat;
pub mod stop;
pub mod tree;
pub mod usage;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize, Serializer};

use self::stat::Stat;
use crate::error::Error;
use crate::privileges::Unprivileged;
use crate::request::Kill;
use crate::system_calls;

/// When a process began: the boot, and the clock ticks since then (field 22 of proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    boot_id: String,
    ticks: u64,
}

impl Started {
    /// Reads `<boot_id>:<start ticks>`, the form of the protocol.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (boot_id, ticks) = text.split_once(':')?;
        let is_boot_id = boot_id.len() == 36
            && boot_id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let is_number = !ticks.is_empty() && ticks.bytes().all(|byte| byte.is_ascii_digit());
        if !is_boot_id || !is_number {
            return None;
        }
        Some(Self { boot_id: boot_id.to_owned(), ticks: ticks.parse().ok()? })
    }

    /// When the process with this pid began, if /proc shows it.
    #[must_use]
    pub fn of(pid: Pid) -> Option<Self> {
        Some(Self { boot_id: read_boot_id()?, ticks: Stat::read(pid)?.started })
    }

    /// Whether it was since the machine was started last.
    #[must_use]
    pub fn is_of_this_boot(&self) -> bool {
        read_boot_id().is_some_and(|boot_id| boot_id == self.boot_id)
    }
}

fn read_boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim_end().to_owned())
}

impl fmt::Display for Started {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.boot_id, self.ticks)
    }
}

impl Serialize for Started {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A process as a request names it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its pid.
    pub pid: Pid,
    /// When it began, where the caller knows: then a recycled pid is harmless.
    pub started: Option<Started>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

impl End {
    /// One number as Python's subprocess has it: the exit status, or the negative signal.
    #[must_use]
    pub fn as_upstream(&self) -> i32 {
        match *self {
            Self::Exited(status) => status,
            Self::Killed(signal) => signal.saturating_neg(),
        }
    }
}

/// One process of the target's, held by a descriptor.
#[derive(Debug)]
pub struct Process {
    pidfd: OwnedFd,
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
        let pidfd = match system_calls::open_pidfd(identity.pid) {
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
        Ok(Self { pidfd: system_calls::open_pidfd(pid)?, pid })
    }

    /// Sends a signal; whether the kernel took it. Signal 0 asks only.
    ///
    /// # Errors
    /// What pidfd_send_signal(2) says: ESRCH, EPERM, or EINVAL for a number that is no signal.
    pub fn signal(&self, signal: i32) -> Result<(), Errno> {
        system_calls::send_signal(self.pidfd.as_fd(), signal)
    }

    /// Waits until the process has ended or the time is over; whether it has ended.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now().checked_add(limit);
        loop {
            let left = deadline
                .and_then(|deadline| deadline.checked_duration_since(Instant::now()))
                .unwrap_or_default();
            match poll_for_end(&[self], left) {
                Ok(ended) if ended.first() == Some(&true) => return true,
                Ok(_) if left.is_zero() => return false,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Whether the process has not ended; one that only waits for being reaped has.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.wait(Duration::ZERO)
    }

    /// The process, to be watched for its end among other things.
    #[must_use]
    pub fn to_poll(&self) -> PollFd<'_> {
        PollFd::new(self.as_fd(), PollFlags::POLLIN)
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
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
    // Rounded up, so that a wait never becomes a busy loop in its last millisecond.
    let limit = limit.saturating_add(Duration::from_micros(999));
    poll(&mut descriptors, PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX))?;
    Ok(descriptors.iter().map(|descriptor| descriptor.any().unwrap_or(false)).collect())
}
