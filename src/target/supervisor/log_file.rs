//! A server's log in its user's home. Everything here runs as the target.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use nix::libc;

/// The size, in bytes, at which a new file is begun.
const MAX_BYTES: u64 = 10 * 1024 * 1024;

/// An open log. It has at most one predecessor, `….log.1`.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Opens the file for appending, and creates the directories above it.
    ///
    /// # Errors
    /// What the kernel says; `Other` if it is not a regular file, since writing to a pipe could block.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::Other.into());
        }
        Ok(Self { path, file, bytes: metadata.len() })
    }

    /// Appends to the file, or to a new one if it would become too large.
    ///
    /// # Errors
    /// What the kernel says: ENOSPC, EDQUOT.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.bytes.saturating_add(bytes.len() as u64) > MAX_BYTES {
            self.make_room()?;
        }
        self.file.write_all(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// The open file, for a server that writes to it directly. Only now can a new file be begun.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn into_file(mut self) -> io::Result<File> {
        if self.bytes > MAX_BYTES {
            self.make_room()?;
        }
        Ok(self.file)
    }

    fn make_room(&mut self) -> io::Result<()> {
        let mut before = self.path.clone().into_os_string();
        before.push(".1");
        fs::rename(&self.path, before)?;
        *self = Self::open(std::mem::take(&mut self.path))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_full_makes_room_and_keeps_one_predecessor() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b/singleuser.log");
        let mut log = LogFile::open(path.clone()).unwrap();
        for letter in [b'1', b'2', b'3'] {
            log.append(&vec![letter; 6 * 1024 * 1024]).unwrap();
        }
        let first = |path: &std::path::Path| fs::read(path).unwrap().first().copied();
        assert_eq!(first(&path), Some(b'3'));
        assert_eq!(first(&path.with_extension("log.1")), Some(b'2'));
    }

    #[test]
    fn a_link_in_the_place_of_the_log_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("singleuser.log");
        std::os::unix::fs::symlink(home.path().join("other"), &path).unwrap();
        assert!(LogFile::open(path).is_err());
        assert!(!home.path().join("other").exists());
    }
}
