//! A list of who is there: a directory with a file for each. Whoever is there holds a lock on its file, flock(2), which
//! ends with the last process that has the file open.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use rustix::fs::FlockOperation;

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
        // What another test forks has a copy of the file for a moment.
        while count() > 1 {
            std::thread::yield_now();
        }
        assert!(!place("1").exists());
    }
}
