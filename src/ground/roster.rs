//! A list of who is there: a directory with a file for each. Whoever is there holds a lock on its file, flock(2), which
//! ends with the last process that has the file open. Who acts for all of them takes turns.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rustix::fs::FlockOperation;

use crate::ending::INTERVAL;
use crate::waiting::wait_for_any;

/// A turn, which ends when it is dropped.
pub type Turn = Flock<File>;

/// Waits for a turn at the list that has this place, at most so long. Makes the list if there is none, for this
/// account alone.
///
/// # Errors
/// EWOULDBLOCK if somebody else has the turn for longer, and what the kernel says of the directory.
pub fn take_turn(place: &Path, longest: Duration) -> io::Result<Turn> {
    let directory = place.parent().unwrap_or(place);
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let (mut opened, begin) = (File::open(directory)?, Instant::now());
    loop {
        match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
            Ok(turn) => return Ok(turn),
            Err((_, errno)) if errno != Errno::EWOULDBLOCK || begin.elapsed() >= longest => {
                return Err(errno.into());
            }
            Err((same, _)) => opened = same,
        }
        let _ = wait_for_any(&mut [], INTERVAL);
    }
}

/// Enters the list, for as long as a process has the returned file open.
///
/// # Errors
/// What the kernel says of the file; EWOULDBLOCK if somebody else has the place.
pub fn enter(place: &Path) -> io::Result<File> {
    let file = File::create(place)?;
    // nix would unlock it for all when one of those who hold it drops it.
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// How many others are in the list: those who hold their locks, and those of whom `is_there` says so by their names.
/// The files of all others are removed.
///
/// # Errors
/// What the kernel says of the directory and the files.
pub fn count_others(own: &Path, is_there: impl Fn(&str) -> bool) -> io::Result<usize> {
    let mut count = 0_usize;
    for entry in fs::read_dir(own.parent().unwrap_or(own))? {
        let (entry, path) = entry.map(|entry| (entry.file_name(), entry.path()))?;
        if path == own {
            continue;
        }
        let is_held = Flock::lock(File::open(&path)?, FlockArg::LockExclusiveNonblock).is_err();
        if is_held || is_there(&entry.to_string_lossy()) {
            count = count.saturating_add(1);
        } else {
            fs::remove_file(path)?;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_gone_is_not_counted_and_its_file_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let first = enter(&place("1")).unwrap();
        let copy = first.try_clone().unwrap();
        fs::write(place("there.service"), "").unwrap();
        fs::write(place("gone.service"), "").unwrap();
        let count = || count_others(&place("own"), |name| name == "there.service").unwrap();
        assert_eq!(count(), 2);
        assert!(!place("gone.service").exists());
        drop(first);
        assert_eq!(count(), 2);
        drop(copy);
        assert_eq!(count(), 1);
        assert!(!place("1").exists());
    }

    #[test]
    fn a_turn_is_waited_for_at_most_so_long() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("list/own");
        let turn = take_turn(&place, Duration::ZERO).unwrap();
        let refused = take_turn(&place, Duration::from_millis(60)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(turn);
        assert!(take_turn(&place, Duration::ZERO).is_ok());
    }
}
