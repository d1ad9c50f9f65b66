//! Scripts, which name the program that executes them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The interpreter named in a script's first line; `None` if the file is not a script or cannot be read.
#[must_use]
pub fn read_interpreter(file: &File) -> Option<PathBuf> {
    let mut line = Vec::new();
    // The kernel looks at 256 bytes, too: BINPRM_BUF_SIZE.
    BufReader::new(file.take(256)).read_until(b'\n', &mut line).ok()?;
    let rest = line.strip_prefix(b"#!")?.trim_ascii();
    let name = rest.split(|byte| byte.is_ascii_whitespace()).next()?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

/// The same for the file at this path.
#[must_use]
pub fn read_interpreter_of(path: &Path) -> Option<PathBuf> {
    read_interpreter(&File::open(path).ok()?)
}
