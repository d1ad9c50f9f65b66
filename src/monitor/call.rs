//! The call that a monitor belongs to, as the monitor sees it: by what neither the mediator nor its account
//! can hold back.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, getppid, read};

use crate::reply;
use crate::system_calls::{self, open_pidfd};

/// No call takes longer: a stop waits three times, an hour each at most.
const LONGEST_CALL: Duration = Duration::from_secs(4 * 3600);
/// How long a mediator that has nothing more to do may take for its own end.
pub const GRACE: Duration = Duration::from_secs(10);

/// The process that answers the caller, and the caller.
pub struct Call {
    mediator: OwnedFd,
    /// The mediator's parent: sudo, which stops itself when its command has been stopped. There is none to be
    /// seen where the parent is outside of this PID namespace.
    parent: Option<OwnedFd>,
    /// The mediator's stdout, whose reader is the caller.
    caller: OwnedFd,
}

impl Call {
    /// Holds this process, which is to be the mediator, and its caller: to be called before the monitor is
    /// forked.
    ///
    /// # Errors
    /// What pidfd_open(2) and dup(2) say.
    pub fn hold() -> Result<Self, Errno> {
        let caller = reply::descriptor().as_fd().try_clone_to_owned();
        Ok(Self {
            mediator: open_pidfd(Pid::this())?,
            parent: open_pidfd(getppid()).ok(),
            caller: caller.map_err(|_| Errno::EMFILE)?,
        })
    }

    /// Reads what the mediator writes to a pipe in one go; `None` if mediator or caller have gone, or if it
    /// takes too long.
    pub fn read_words<'a>(
        &self,
        pipe: &OwnedFd,
        buffer: &'a mut [u8],
        limit: Duration,
    ) -> Option<&'a [u8]> {
        let deadline = Instant::now().checked_add(limit)?;
        loop {
            let left = deadline.checked_duration_since(Instant::now())?;
            match self.look(pipe, left) {
                (_, true) => break,
                (true, false) => return None,
                (false, false) => {}
            }
        }
        let count = read(pipe, buffer).ok().filter(|count| *count > 0)?;
        buffer.get(..count)
    }

    /// Reads one byte, in the same way, for as long as any call can take.
    pub fn read_word(&self, pipe: &OwnedFd) -> Option<u8> {
        let mut word = [0];
        self.read_words(pipe, &mut word, LONGEST_CALL)?.first().copied()
    }

    /// Whether mediator or caller have gone. `pipe` is one that the mediator writes to.
    pub fn is_over(&self, pipe: &OwnedFd) -> bool {
        let (caller_has_gone, has_ended) = self.look(pipe, Duration::ZERO);
        caller_has_gone || has_ended
    }

    /// Waits so long for the end of the mediator, which its account may have stopped, and kills it.
    pub fn end_mediator(&self, grace: Duration) {
        if !grace.is_zero() {
            let _ = system_calls::send_signal(self.mediator.as_fd(), libc::SIGCONT);
        }
        let mut watched = [PollFd::new(self.mediator.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut watched, PollTimeout::try_from(grace).unwrap_or(PollTimeout::ZERO));
        let _ = system_calls::send_signal(self.mediator.as_fd(), libc::SIGKILL);
        if let Some(parent) = &self.parent {
            let _ = system_calls::send_signal(parent.as_fd(), libc::SIGCONT);
        }
    }

    /// Waits until something happens: whether the caller has gone, and whether there is something to be read,
    /// if only the end of the pipe.
    fn look(&self, pipe: &OwnedFd, limit: Duration) -> (bool, bool) {
        // No event is asked of stdout: what poll(2) tells without being asked is that nobody is left to
        // read it.
        let mut watched = [
            PollFd::new(self.caller.as_fd(), PollFlags::empty()),
            PollFd::new(pipe.as_fd(), PollFlags::POLLIN),
        ];
        let _ = poll(&mut watched, PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX));
        let [caller, pipe] = watched.map(|one| one.any().unwrap_or(false));
        (caller, pipe)
    }
}
