//! The call that a monitor serves. Everything here comes from the kernel, so neither the mediator nor its
//! account can hold it back.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ground::pidfd::Pidfd;
use ground::waiting::wait_for_any;
use ground::wire::stdout_to_caller;
use nix::errno::Errno;
use nix::libc::{SIGCONT, SIGKILL};
use nix::poll::{PollFd, PollFlags};
use nix::unistd::{Pid, getppid, read};

/// No call takes longer: a stop waits three times, an hour each at most.
const LONGEST_CALL: Duration = Duration::from_secs(4 * 3600);
/// When the caller has gone, a mediator that runs may still be about to say that the reply was written.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a mediator that has nothing more to do may take for its own end.
pub const GRACE: Duration = Duration::from_secs(10);

/// The process that answers the caller, and the caller.
pub struct Call {
    /// The mediator; nothing before Linux 5.3.
    mediator: Option<Pidfd>,
    /// The mediator's parent: sudo, which stops itself when its command has been stopped. A parent outside of
    /// this PID namespace cannot be seen.
    parent: Option<Pidfd>,
    /// The mediator's stdout, whose reader is the caller.
    caller: Option<OwnedFd>,
}

impl Call {
    /// Holds this process, which is to be the mediator, and its caller: to be called before the monitor is
    /// forked.
    ///
    /// # Errors
    /// What dup(2) says.
    pub fn hold() -> Result<Self, Errno> {
        let (mediator, parent) = (Pidfd::open(Pid::this()).ok(), Pidfd::open(getppid()).ok());
        let caller = stdout_to_caller().as_fd().try_clone_to_owned();
        Ok(Self { mediator, parent, caller: Some(caller.map_err(|_| Errno::EMFILE)?) })
    }

    /// Reads what the mediator writes to a pipe in one go, at most so many bytes: nothing at the end of the
    /// pipe. `None` if it takes too long, or if the caller has gone and nothing more comes.
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

    /// Reads one byte, in the same way, for as long as any call can take.
    pub fn read_word(&self, pipe: &OwnedFd) -> Option<u8> {
        self.read_words(pipe, 1, LONGEST_CALL)?.first().copied()
    }

    /// Whether mediator or caller have gone. `pipe` is one that the mediator writes to.
    pub fn is_over(&self, pipe: &OwnedFd) -> bool {
        look(self.caller.as_ref(), pipe, Duration::ZERO) != (false, false)
    }

    /// Lets go of the caller's end, for which somebody may wait until it has ended.
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

/// Waits until something happens: whether the caller has gone, and whether there is something to be read, if
/// only the end of the pipe.
fn look(caller: Option<&OwnedFd>, pipe: &OwnedFd, limit: Duration) -> (bool, bool) {
    let mut watched = vec![PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    // No event is asked of stdout: what poll(2) tells without being asked is that nobody is left to read it.
    watched.extend(caller.map(|caller| PollFd::new(caller.as_fd(), PollFlags::empty())));
    let events = wait_for_any(&mut watched, limit).unwrap_or_default();
    let has_event = |place| events.get(place).copied().unwrap_or(false);
    (has_event(1), has_event(0))
}
