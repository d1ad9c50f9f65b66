//! Why a file is not one that only root can have written. `root::trusted_file` looks.

use std::fmt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// Why a file or directory is not trusted or cannot be opened.
#[derive(Debug, PartialEq, Eq)]
pub enum Distrust {
    /// The file does not exist.
    Missing(PathBuf),
    /// The kernel does not let us open it.
    Closed(PathBuf, Errno),
    /// A part of the path is a symbolic link, which others may redirect.
    Link(PathBuf),
    /// An account other than root owns it.
    Owner(PathBuf, u32),
    /// Accounts other than root can write to it.
    Writable(PathBuf, u32),
    /// It is a device, a pipe, or a directory in place of a file.
    Kind(PathBuf, &'static str),
    /// The path is relative or contains `..`.
    Relative(PathBuf),
}

impl Distrust {
    /// What open(2) with `O_NOFOLLOW` said.
    #[must_use]
    pub fn of_open(path: &Path, errno: Errno) -> Self {
        match errno {
            Errno::ENOENT => Self::Missing(path.to_owned()),
            Errno::ELOOP => Self::Link(path.to_owned()),
            errno => Self::Closed(path.to_owned(), errno),
        }
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(f, "{} does not exist", path.display()),
            Self::Closed(path, errno) => write!(f, "{} cannot be opened: {errno}", path.display()),
            Self::Link(path) => {
                write!(f, "{} is a symbolic link; name the file itself", path.display())
            }
            Self::Owner(path, uid) => write!(
                f,
                "{0} belongs to uid {uid} and has to belong to root (chown root {0})",
                path.display()
            ),
            Self::Writable(path, mode) => write!(
                f,
                "{0} can be written by group or others, mode {mode:04o} (chmod go-w {0})",
                path.display()
            ),
            Self::Kind(path, kind) => write!(f, "{} is not a {kind}", path.display()),
            Self::Relative(path) => {
                write!(f, "{} is not an absolute path without dots", path.display())
            }
        }
    }
}
