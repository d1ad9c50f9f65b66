//! Executes systemd-run(1) or systemctl(1) in an environment of our own.

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use nix::unistd::{chdir, execve};

use ground::system_calls::{self, afresh};

/// The complete environment of the program.
const ENVIRONMENT: [&CStr; 2] =
    [c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", c"LANG=C.UTF-8"];

/// Becomes the program that the first word names. Returns only on failure.
///
/// # Errors
/// A sentence.
pub fn execute(words: Vec<OsString>) -> Result<Infallible, String> {
    let program = Path::new("/usr/bin").join(words.first().cloned().unwrap_or_default());
    let to_word =
        |word: OsString| CString::new(word.into_vec()).map_err(|_| "a word has a NUL byte");
    let path = to_word(program.clone().into())?;
    let argv = words.into_iter().map(to_word).collect::<Result<Vec<_>, _>>()?;
    // Not in the caller's directory.
    let _ = chdir("/");
    system_calls::reset_signals();
    // The caller's limits could end that program halfway. The unit does not get them.
    afresh::settle();
    execve(&path, &argv, &ENVIRONMENT)
        .map_err(|errno| format!("{} could not be executed: {errno}", program.display()))
}
