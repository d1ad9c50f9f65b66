//! Secrets for hooks: a file of root's for each account, of which hooks get a copy in memory.
//!
//! The copy is open in the process that runs the hooks, and closed before a server is started. Hooks know it by a path
//! below `/proc`, which nobody but root can follow: so it is inherited by nothing, and reaches whatever a hook starts.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::unistd::Pid;

use crate::trusted_file::{Distrust, TrustedDirectory};
use ground::system_calls::copy_into_memory;

/// The file for accounts that have none of their own.
pub const DEFAULT: &str = "default";

/// Copies the file that is named for the account, or else the default; `None` if there is neither.
///
/// # Errors
/// Why it is refused: others than root could read or write it, or the directory is missing.
pub fn copy(directory: &Path, user: &str) -> Result<Option<File>, String> {
    let explain = |distrust: Distrust| distrust.to_string();
    let opened = TrustedDirectory::open(directory).map_err(explain)?;
    let mut found = [user, DEFAULT].into_iter().map(|name| opened.open_file(Path::new(name)));
    let found = found.find(|found| !matches!(found, Err(Distrust::Missing(_)))).transpose();
    let Some((mut file, stat)) = found.map_err(explain)? else { return Ok(None) };
    if stat.st_mode & 0o077 != 0 {
        let place = directory.display();
        return Err(format!("the file of {user} in {place} can be read by others (chmod go= it)"));
    }
    copy_into_memory(&mut file).map(Some).map_err(|error| format!("no copy in memory: {error}"))
}

/// The variable that tells hooks where the copy is.
#[must_use]
pub fn to_variable(copy: &File) -> Vec<u8> {
    format!("SUDOSPAWNER_CREDENTIALS=/proc/{}/fd/{}", Pid::this(), copy.as_raw_fd()).into_bytes()
}
