//! Turns: something is done by one process at a time, and only so often a minute.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::waiting::wait_for_any;

/// How often a turn is asked for.
const INTERVAL: Duration = Duration::from_millis(50);
const MINUTE: Duration = Duration::from_secs(60);

/// The turn of this process, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    folder: PathBuf,
    _lock: Flock<File>,
}

impl Turn {
    /// Waits at most `limit` until it is this process's turn. The folder, which exists, has its places.
    ///
    /// # Errors
    /// EWOULDBLOCK if another process does not finish; what the kernel says.
    pub fn wait_for(folder: &Path, limit: Duration) -> io::Result<Self> {
        let mut file = File::open(folder)?;
        let begin = Instant::now();
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Self { folder: folder.to_owned(), _lock: lock }),
                Err((file, Errno::EWOULDBLOCK)) if begin.elapsed() < limit => file,
                Err((_, errno)) => return Err(errno.into()),
            };
            wait_for_any(&mut [], INTERVAL)?;
        }
    }

    /// Takes one of so many places, each of which is free again after a minute. Returns whether one was free.
    ///
    /// A place is an empty file that was last written when it was taken. So what counts is bounded, and is nothing that
    /// would have to be parsed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn take_place(&self, places: u8) -> io::Result<bool> {
        for number in 0..places {
            let place = self.folder.join(number.to_string());
            let taken = place.metadata().and_then(|found| found.modified());
            // A time to come is of a clock that was wrong.
            if taken.map_or(true, |taken| taken.elapsed().map_or(true, |age| age > MINUTE)) {
                // To cut an empty file counts as writing, open(2).
                return File::create(place).map(|_| true);
            }
        }
        Ok(false)
    }
}
