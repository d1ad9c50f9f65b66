//! Waits with a time limit.

use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollTimeout, poll};
use nix::unistd::alarm;

/// Waits at most `limit` until something happens on one of the descriptors. Returns for each, in order,
/// whether something has happened. A signal may end the wait early.
///
/// # Errors
/// What poll(2) says, except EINTR.
pub fn wait_for_any(watched: &mut [PollFd<'_>], limit: Duration) -> Result<Vec<bool>, Errno> {
    // Rounded up, so that the last millisecond of a wait is not a busy loop.
    let limit = limit.saturating_add(Duration::from_micros(999));
    match poll(watched, PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)) {
        Ok(_) => Ok(watched.iter().map(|one| one.any().unwrap_or(false)).collect()),
        Err(Errno::EINTR) => Ok(vec![false; watched.len()]),
        Err(errno) => Err(errno),
    }
}

/// How long the account database may take, in seconds.
pub const LONGEST_LOOKUP: u32 = 30;

/// Asks the account database. If it takes too long, SIGALRM ends this process: nothing else can be done about a
/// library that waits.
pub fn within_limit<T>(ask: impl FnOnce() -> T) -> T {
    alarm::set(LONGEST_LOOKUP);
    let answer = ask();
    alarm::cancel();
    answer
}
