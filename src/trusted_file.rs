//! Files that only root can have written: the owner and mode of the open file, and of every directory
//! above it, are looked at by descriptor, and no part of the path may be a symbolic link.

pub mod program;

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use thiserror::Error;

/// Why a file or directory is not trusted, or cannot be opened.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Distrust {
    /// There is no such file.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// The kernel does not open it for us.
    #[error("{0} cannot be opened: {1}")]
    Closed(PathBuf, Errno),
    /// A part of the path is a symbolic link, behind which something else may be put.
    #[error("{0} is a symbolic link; name the file itself")]
    Link(PathBuf),
    /// Somebody else owns it.
    #[error("{0} belongs to uid {1} and has to belong to root (chown root {0})")]
    Owner(PathBuf, u32),
    /// Others can write to it.
    #[error("{0} can be written by group or others, mode {1:04o} (chmod go-w {0})")]
    Writable(PathBuf, u32),
    /// It is a device, a pipe, or a directory where a file should be.
    #[error("{0} is not a {1}")]
    Kind(PathBuf, &'static str),
    /// The path does not begin at the root, or has a `..`.
    #[error("{0} is not an absolute path without dots")]
    Relative(PathBuf),
}

/// A directory that only root can change, with all directories above it.
#[derive(Debug)]
pub struct TrustedDirectory {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl TrustedDirectory {
    /// Opens a directory, and on the way checks every directory above it.
    ///
    /// # Errors
    /// Every [`Distrust`].
    pub fn open(path: &Path) -> Result<Self, Distrust> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut walked = PathBuf::from("/");
        let root = open("/", flags, Mode::empty());
        let mut descriptor = root.map_err(|errno| Distrust::Closed(walked.clone(), errno))?;
        check_owner_and_mode(&descriptor, &walked)?;
        for component in path.components() {
            let name = match component {
                Component::RootDir => continue,
                Component::Normal(name) if path.is_absolute() => name,
                _ => return Err(Distrust::Relative(path.to_owned())),
            };
            walked.push(name);
            descriptor = openat(&descriptor, name, flags | OFlag::O_NOFOLLOW, Mode::empty())
                .map_err(|errno| explain(&descriptor, name.as_ref(), &walked, errno))?;
            check_owner_and_mode(&descriptor, &walked)?;
        }
        Ok(Self { descriptor, path: walked })
    }

    /// The names in it, sorted by their bytes.
    ///
    /// # Errors
    /// [`Distrust::Closed`].
    pub fn list(&self) -> Result<Vec<PathBuf>, Distrust> {
        let opened = format!("/proc/self/fd/{}", self.descriptor.as_raw_fd());
        let names = std::fs::read_dir(opened)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name().into())).collect());
        let mut names: Vec<PathBuf> = names.map_err(|error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
            Distrust::Closed(self.path.clone(), errno)
        })?;
        names.sort();
        Ok(names)
    }

    /// Opens a file in it and checks the open file. `None` if it is no regular file.
    ///
    /// # Errors
    /// Every [`Distrust`].
    pub fn open_file(&self, name: &Path) -> Result<(File, FileStat), Distrust> {
        // Non-blocking, since opening a pipe would wait for its other end.
        self.open_file_as(OFlag::O_RDONLY | OFlag::O_NONBLOCK, name)
    }

    fn open_file_as(&self, how: OFlag, name: &Path) -> Result<(File, FileStat), Distrust> {
        let path = self.path.join(name);
        let flags = how | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let descriptor = openat(&self.descriptor, name, flags, Mode::empty())
            .map_err(|errno| explain(&self.descriptor, name, &path, errno))?;
        let stat = check_owner_and_mode(&descriptor, &path)?;
        if !is_kind(&stat, SFlag::S_IFREG) {
            return Err(Distrust::Kind(path, "regular file"));
        }
        Ok((File::from(descriptor), stat))
    }
}

/// Opens a file and checks it and every directory above it.
///
/// # Errors
/// Every [`Distrust`].
pub fn open_trusted(path: &Path) -> Result<(File, FileStat), Distrust> {
    let (directory, name) = open_directory_of(path)?;
    directory.open_file(name)
}

/// Checks a file that this process may be unable to read, and every directory above it.
///
/// # Errors
/// Every [`Distrust`].
pub fn check_trusted(path: &Path) -> Result<FileStat, Distrust> {
    let (directory, name) = open_directory_of(path)?;
    directory.open_file_as(OFlag::O_PATH, name).map(|(_, stat)| stat)
}

fn open_directory_of(path: &Path) -> Result<(TrustedDirectory, &Path), Distrust> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Distrust::Relative(path.to_owned()));
    };
    Ok((TrustedDirectory::open(directory)?, Path::new(name)))
}

fn check_owner_and_mode(descriptor: &OwnedFd, path: &Path) -> Result<FileStat, Distrust> {
    let stat = fstat(descriptor).map_err(|errno| Distrust::Closed(path.to_owned(), errno))?;
    if is_kind(&stat, SFlag::S_IFLNK) {
        return Err(Distrust::Link(path.to_owned()));
    }
    if stat.st_uid != 0 {
        return Err(Distrust::Owner(path.to_owned(), stat.st_uid));
    }
    // An access control list that lets others write shows in the group's bits, acl(5).
    if stat.st_mode & 0o022 != 0 {
        return Err(Distrust::Writable(path.to_owned(), stat.st_mode & 0o7777));
    }
    Ok(stat)
}

fn is_kind(stat: &FileStat, kind: SFlag) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

fn explain(directory: &impl AsFd, name: &Path, path: &Path, errno: Errno) -> Distrust {
    let path = path.to_owned();
    match errno {
        Errno::ENOENT => Distrust::Missing(path),
        Errno::ELOOP => Distrust::Link(path),
        // What O_DIRECTORY with O_NOFOLLOW says of a link, as well as of a file.
        Errno::ENOTDIR => {
            let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
            match nix::sys::stat::fstatat(directory, name, flags) {
                Ok(stat) if is_kind(&stat, SFlag::S_IFLNK) => Distrust::Link(path),
                _ => Distrust::Kind(path, "directory"),
            }
        }
        errno => Distrust::Closed(path, errno),
    }
}
