//! A server's files, such as its certificate: in a folder of their own, for as long as the server lives.
//!
//! ```text
//! the server's process:  folder, lock ── remover ── files ── exec server
//!                                           └─ executes this binary anew, holds the lock, waits for the server's
//!                                              end, removes the folder
//! ```
//!
//! A folder that nobody has locked is one whose remover was killed, and the next start removes it. The kernel locks
//! folders for this machine alone, on NFS, too. So a folder's name has the machine's name, and the folders of other
//! machines are left alone.

pub mod remover;

use std::ffi::{CString, OsStr};
use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open, openat};
use nix::sys::stat::{Mode, fstat, mkdirat, umask};
use nix::unistd::close;
use root::privileges::Unprivileged;

use crate::error::Error;
use crate::request::files::Files;

/// What stands for the folder in arguments and variables.
const PLACEHOLDER: &str = "{files}";
/// How many digits make a folder's name its own.
const DIGITS: usize = 16;
/// The mode bits that let other accounts change a folder.
const OTHERS_WRITE: u32 = 0o022;

/// A server's files, in a folder that only the target can enter. It is locked until the remover has removed it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    lock: Flock<OwnedFd>,
}

impl Folder {
    /// Writes a server's files, in the process that becomes the server; `None` if there are none. This may wait for a
    /// file server. The folder is removed when this process has ended, as a server or before that.
    ///
    /// # Errors
    /// [`Error::HomeMissing`], [`Error::FilesNotWritten`], and
    /// [`Denial::LaunchFailed`](ground::denial::Denial::LaunchFailed) if there can be no remover.
    pub fn write(files: &Files, proof: &Unprivileged) -> Result<Option<Self>, Error> {
        if files.is_empty() {
            return Ok(None);
        }
        let servers_own = umask(Mode::S_IRWXG | Mode::S_IRWXO);
        let place = find_place(proof)?;
        let failed = |reason| Error::FilesNotWritten { place: place.clone(), reason };
        let folder = Self::make(&place, proof).map_err(failed)?;
        remover::leave(&folder.path, folder.lock.as_fd())?;
        for (name, text) in files {
            let written = folder.write_one(name, text);
            written.map_err(|errno| failed(explain(errno)))?;
        }
        umask(servers_own);
        Ok(Some(folder))
    }

    /// Makes an empty folder, and removes those that nobody has locked.
    fn make(place: &Path, proof: &Unprivileged) -> Result<Self, String> {
        let built = DirBuilder::new().recursive(true).mode(0o700).create(place);
        built.map_err(|error| explain(to_errno(&error)))?;
        let at_place = open_folder(place).map_err(explain)?;
        let stat = fstat(&at_place).map_err(explain)?;
        if stat.st_uid != proof.target().uid.as_raw() || stat.st_mode & OTHERS_WRITE != 0 {
            let shown = place.display();
            return Err(format!(
                "others could replace them: give {shown} to the account, and `chmod go-w` it"
            ));
        }
        // Two starts at the same time: what one has made and not yet locked is not the other's to remove.
        let at_place =
            Flock::lock(at_place, FlockArg::LockExclusive).map_err(|(_, errno)| explain(errno))?;
        let host = read_host();
        remove_left_ones(place, &host);
        let number = RandomState::new().build_hasher().finish();
        let name = format!("files-{host}-{number:0DIGITS$x}");
        mkdirat(at_place.as_fd(), name.as_str(), Mode::S_IRWXU).map_err(explain)?;
        let path = place.join(name);
        let lock = open_folder(&path).map_err(explain)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock);
        lock.map(|lock| Self { path, lock }).map_err(|(_, errno)| explain(errno))
    }

    fn write_one(&self, name: &str, text: &str) -> Result<(), Errno> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let mut file = File::from(openat(self.lock.as_fd(), name, flags | OFlag::O_CLOEXEC, mode)?);
        file.write_all(text.as_bytes()).map_err(|error| to_errno(&error))?;
        // NFS may say only now that there is no room.
        close(file)
    }

    /// Where the files are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Where the folders of an account are: in its runtime directory if that is there for as long as this process, else in
/// its home.
fn find_place(proof: &Unprivileged) -> Result<PathBuf, Error> {
    let target = proof.target();
    let runtime = PathBuf::from(format!("/run/user/{}", target.uid));
    let is_own = |seen: fs::Metadata| {
        seen.is_dir() && seen.uid() == target.uid.as_raw() && seen.mode() & 0o777 == 0o700
    };
    // logind removes it when the account's last session ends. A session does not end before its processes.
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let is_in_session = groups.contains(&format!("/user-{}.slice/", target.uid));
    if is_in_session && fs::symlink_metadata(&runtime).is_ok_and(is_own) {
        return Ok(runtime.join("sudospawner"));
    }
    match fs::metadata(&target.home) {
        Ok(_) => Ok(target.home.join(".local/state/sudospawner")),
        Err(error) => Err(Error::HomeMissing {
            home: target.home.clone(),
            target: target.name.clone(),
            errno: to_errno(&error),
        }),
    }
}

/// Removes the folders of servers of this machine that have ended without their removers.
fn remove_left_ones(place: &Path, host: &str) {
    let begin = format!("files-{host}-");
    let is_ours = |name: &OsStr| {
        let number = name.to_str().and_then(|name| name.strip_prefix(&begin));
        number.is_some_and(|number| {
            number.len() == DIGITS && number.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let lock = open_folder(&entry.path()).ok().filter(|_| is_ours(&entry.file_name()));
        let lock = lock.map(|folder| Flock::lock(folder, FlockArg::LockExclusiveNonblock));
        if matches!(lock, Some(Ok(_))) && fs::remove_dir_all(entry.path()).is_ok() {
            log::info!(
                "{} was left by a server that has ended, and is removed",
                entry.path().display()
            );
        }
    }
}

fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty())
}

/// The machine's name, as one part of a file's name.
fn read_host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.chars().filter(|sign| sign.is_ascii_alphanumeric() || ".-".contains(*sign)).collect()
}

fn to_errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Says what is in the way, and what to do.
fn explain(errno: Errno) -> String {
    let remedy = match errno {
        Errno::ENOSPC | Errno::EDQUOT => "make room there, or raise the account's quota",
        Errno::EROFS => "mount it so that the account can write there",
        Errno::EACCES | Errno::EPERM => "let the account write there",
        Errno::ENOSYS | Errno::ENOLCK | Errno::EOPNOTSUPP => "mount it with locks (flock)",
        Errno::ELOOP | Errno::ENOTDIR | Errno::EEXIST => {
            "put a folder in its place; a link is not followed"
        }
        _ => "look at its file system",
    };
    format!("{errno}; {remedy}")
}

/// Puts a folder where the server's arguments have the placeholder.
#[must_use]
pub fn fill_arguments(args: &[CString], folder: Option<&Path>) -> Vec<CString> {
    args.iter().map(|arg| fill(arg.as_bytes(), folder).unwrap_or_else(|| arg.clone())).collect()
}

/// Puts a folder where the values of variables, `NAME=value` each, have the placeholder.
#[must_use]
pub fn fill_variables(variables: &[CString], folder: Option<&Path>) -> Vec<CString> {
    let fill_value = |variable: &CString| {
        let (name, value) = variable.to_str().ok()?.split_once('=')?;
        let value = fill(value.as_bytes(), folder)?;
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    };
    variables.iter().map(|one| fill_value(one).unwrap_or_else(|| one.clone())).collect()
}

/// `None` if there is nothing to put in.
fn fill(text: &[u8], folder: Option<&Path>) -> Option<CString> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.contains(PLACEHOLDER))?;
    let parts: Vec<&[u8]> = text.split(PLACEHOLDER).map(str::as_bytes).collect();
    CString::new(parts.join(folder?.as_os_str().as_encoded_bytes())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(word: &str) -> CString {
        CString::new(word).unwrap()
    }

    #[test]
    fn the_folder_stands_in_arguments_and_in_the_values_of_variables() {
        let folder = Some(Path::new("/home/zoe/a b"));
        let args = ["{files}", "--key={files}/a:{files}/b", "{file}", ""].map(text);
        let expected = ["/home/zoe/a b", "--key=/home/zoe/a b/a:/home/zoe/a b/b", "{file}", ""];
        assert_eq!(fill_arguments(&args, folder), expected.map(text));
        let variables = ["A={files}/x={files}", "{files}=b", "C"].map(text);
        let expected = ["A=/home/zoe/a b/x=/home/zoe/a b", "{files}=b", "C"].map(text);
        assert_eq!(fill_variables(&variables, folder), expected);
    }

    #[test]
    fn without_files_nothing_stands_for_a_folder() {
        let words = ["{files}", "A={files}"].map(text);
        assert_eq!(fill_arguments(&words, None), words);
        assert_eq!(fill_variables(&words, None), words);
    }

    #[test]
    fn what_another_machine_or_nobody_has_made_stays_and_what_is_locked_too() {
        let place = tempfile::tempdir().unwrap();
        let left = ["files-node1-0123456789abcdef", "files-node1-00000000000000ff"];
        let kept = [
            "files-node1-x-0123456789abcdef",
            "files-node2-0123456789abcdef",
            "files-node1-0123456789abcdeg",
            "files-node1-1",
            "singleuser.log",
            "files-node1-aaaaaaaaaaaaaaaa",
        ];
        for name in left.iter().chain(&kept) {
            fs::create_dir(place.path().join(name)).unwrap();
            fs::write(place.path().join(name).join("server.key"), "key").unwrap();
        }
        let held = open_folder(&place.path().join("files-node1-aaaaaaaaaaaaaaaa")).unwrap();
        let held = Flock::lock(held, FlockArg::LockExclusiveNonblock).unwrap();
        std::os::unix::fs::symlink("/", place.path().join("files-node1-bbbbbbbbbbbbbbbb")).unwrap();
        remove_left_ones(place.path(), "node1");
        for name in kept {
            assert!(place.path().join(name).exists(), "{name}");
        }
        assert!(place.path().join("files-node1-bbbbbbbbbbbbbbbb").is_symlink());
        for name in left {
            assert!(!place.path().join(name).exists(), "{name}");
        }
        drop(held);
    }
}
