//! The call that a monitor serves. Everything here comes from the kernel, so neither the mediator nor its
//! account can suppress it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ground::pidfd::Pidfd;
use ground::waiting::wait_for_any;
use ground::wire::stdout_to_caller;
use nix::errno::Errno;
use nix::libc::{SIGCONT, SIGKILL};
use nix::poll::{PollFd, PollFlags};
use nix::unistd::{Pid, getppid, read};

/// The longest time that a call takes: a stop waits three times, an hour each at most.
const LONGEST_CALL: Duration = Duration::from_secs(4 * 3600);
/// After the caller is gone, the mediator may still be about to say that it has written the reply.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a mediator that has nothing left to do may take to end.
pub const GRACE: Duration = Duration::from_secs(10);

/// The process that answers the caller, and the caller.
pub struct Call {
    /// The mediator; `None` before Linux 5.3.
    mediator: Option<Pidfd>,
    /// The mediator's parent: sudo, which stops itself when its command is stopped. A parent outside this PID
    /// namespace cannot be seen.
    parent: Option<Pidfd>,
    /// The mediator's stdout, which the caller reads.
    caller: Option<OwnedFd>,
}

impl Call {
    /// Holds this process, which becomes the mediator, and its caller. Call this before forking the monitor.
    ///
    /// # Errors
    /// What dup(2) says.
    pub fn hold() -> Result<Self, Errno> {
        let (mediator, parent) = (Pidfd::open(Pid::this()).ok(), Pidfd::open(getppid()).ok());
        let caller = stdout_to_caller().as_fd().try_clone_to_owned();
        Ok(Self { mediator, parent, caller: Some(caller.map_err(|_| Errno::EMFILE)?) })
    }

    /// Reads what the mediator writes to a pipe at once, at most `most` bytes; empty at the end of the pipe.
    /// `None` if it takes too long, or if the caller is gone and nothing more comes.
    pub fn read_words(&self, pipe: &OwnedFd, most: usize, limit: Duration) -> Option<Vec<u8>> {
        let mut deadline = Instant::now().checked_add(limit)?;
        let mut caller = self.caller.as_ref();
        loop {
            let left = deadline.checked_duration_since(Instant::now())?;
            match look(caller, pipe, left) {
                (_, true) => break,
                (true, false) => {
                    caller = None;
                    deadline = deadline.min(Instant::now().checked_add(FAREWELL)?);
                }
                (false, false) => {}
            }
        }
        let mut words = vec![0; most];
        let count = read(pipe, &mut words).ok()?;
        words.truncate(count);
        Some(words)
    }

    /// Reads one byte in the same way, for as long as a call may take.
    pub fn read_word(&self, pipe: &OwnedFd) -> Option<u8> {
        self.read_words(pipe, 1, LONGEST_CALL)?.first().copied()
    }

    /// Whether mediator or caller are gone. `pipe` is one that the mediator writes to.
    pub fn is_over(&self, pipe: &OwnedFd) -> bool {
        look(self.caller.as_ref(), pipe, Duration::ZERO) != (false, false)
    }

    /// Closes our copy of the caller's pipe. Somebody may be waiting for the end of that pipe.
    pub fn forget_caller(&mut self) {
        self.caller = None;
    }

    /// Gives the mediator this long to end, and then kills it. Its account may have stopped it.
    pub fn end_mediator(&self, grace: Duration) {
        let Some(mediator) = &self.mediator else { return };
        if !grace.is_zero() {
            let _ = mediator.send_signal(SIGCONT);
        }
        let _ = mediator.wait_for_end(grace);
        let _ = mediator.send_signal(SIGKILL);
        if let Some(parent) = &self.parent {
            let _ = parent.send_signal(SIGCONT);
        }
    }
}

/// Waits for an event. Returns whether the caller is gone, and whether the pipe can be read, which includes
/// its end.
fn look(caller: Option<&OwnedFd>, pipe: &OwnedFd, limit: Duration) -> (bool, bool) {
    let mut watched = vec![PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    // No event is requested for stdout: poll(2) reports without a request that no reader is left.
    watched.extend(caller.map(|caller| PollFd::new(caller.as_fd(), PollFlags::empty())));
    let events = wait_for_any(&mut watched, limit).unwrap_or_default();
    let has_event = |place| events.get(place).copied().unwrap_or(false);
    (has_event(1), has_event(0))
}
