//! Files that only root can have written. Owner and mode of the open file, and of every directory above it,
//! are checked by descriptor, and no part of the path may be a symbolic link.

pub mod program;

use std::fs::{DirBuilder, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

pub use ground::denial::distrust::Distrust;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

/// A directory that only root can change, like all directories above it.
#[derive(Debug)]
pub struct TrustedDirectory {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl TrustedDirectory {
    /// Opens a directory, and checks every directory above it on the way.
    ///
    /// # Errors
    /// Every [`Distrust`].
    pub fn open(path: &Path) -> Result<Self, Distrust> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut walked = PathBuf::from("/");
        let root = open("/", flags, Mode::empty());
        let mut descriptor = root.map_err(|errno| Distrust::Closed(walked.clone(), errno))?;
        check(&descriptor, &walked, SFlag::S_IFDIR)?;
        for component in path.components() {
            let name = match component {
                Component::RootDir => continue,
                Component::Normal(name) if path.is_absolute() => name,
                _ => return Err(Distrust::Relative(path.to_owned())),
            };
            walked.push(name);
            descriptor = openat(&descriptor, name, flags, Mode::empty())
                .map_err(|errno| Distrust::of_open(&walked, errno))?;
            check(&descriptor, &walked, SFlag::S_IFDIR)?;
        }
        Ok(Self { descriptor, path: walked })
    }

    /// The names in it, sorted by bytes.
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

    /// Opens a file in it and checks the open file. [`Distrust::Kind`] if it is not a regular file.
    ///
    /// # Errors
    /// Every [`Distrust`].
    pub fn open_file(&self, name: &Path) -> Result<(File, FileStat), Distrust> {
        // Non-blocking, because opening a pipe would wait for its other end.
        self.open_file_as(OFlag::O_RDONLY | OFlag::O_NONBLOCK, name)
    }

    fn open_file_as(&self, how: OFlag, name: &Path) -> Result<(File, FileStat), Distrust> {
        let path = self.path.join(name);
        let flags = how | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let descriptor = openat(&self.descriptor, name, flags, Mode::empty())
            .map_err(|errno| Distrust::of_open(&path, errno))?;
        let stat = check(&descriptor, &path, SFlag::S_IFREG)?;
        Ok((File::from(descriptor), stat))
    }
}

/// Makes a directory that only root can enter, with those above it, where it is missing, and checks it.
///
/// # Errors
/// Every [`Distrust`].
pub fn make_trusted(path: &Path) -> Result<TrustedDirectory, Distrust> {
    // What keeps it from being made is in the way of opening it, too.
    let _ = DirBuilder::new().recursive(true).mode(0o700).create(path);
    TrustedDirectory::open(path)
}

/// Opens a file and checks it and every directory above it.
///
/// # Errors
/// Every [`Distrust`].
pub fn open_trusted(path: &Path) -> Result<(File, FileStat), Distrust> {
    let (directory, name) = open_directory_of(path)?;
    directory.open_file(name)
}

/// Checks a file that this process may not be able to read, and every directory above it.
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

/// Checks the owner, the write permissions and the type of what was opened.
fn check(descriptor: &OwnedFd, path: &Path, wanted: SFlag) -> Result<FileStat, Distrust> {
    let stat = fstat(descriptor).map_err(|errno| Distrust::Closed(path.to_owned(), errno))?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    let path = path.to_owned();
    if kind == SFlag::S_IFLNK {
        return Err(Distrust::Link(path));
    }
    if stat.st_uid != 0 {
        return Err(Distrust::Owner(path, stat.st_uid));
    }
    // An access control list that lets others write shows up in the group bits, acl(5).
    if stat.st_mode & 0o022 != 0 {
        return Err(Distrust::Writable(path, stat.st_mode & 0o7777));
    }
    if kind != wanted {
        let wanted = if wanted == SFlag::S_IFDIR { "directory" } else { "regular file" };
        return Err(Distrust::Kind(path, wanted));
    }
    Ok(stat)
}
