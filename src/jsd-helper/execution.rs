//! systemd-run(1) or systemctl(1), with an environment of our own.

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use nix::unistd::{chdir, execve};

use ground::system_calls::{self, afresh};

/// All that the program is given of an environment.
const ENVIRONMENT: [&CStr; 2] =
    [c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", c"LANG=C.UTF-8"];

/// Becomes the program that the first word names; returns only if that is refused.
///
/// # Errors
/// A sentence.
pub fn execute(words: Vec<OsString>) -> Result<Infallible, String> {
    let program = Path::new("/usr/bin").join(words.first().cloned().unwrap_or_default());
    let to_word =
        |word: OsString| CString::new(word.into_vec()).map_err(|_| "a word has a NUL byte");
    let path = to_word(program.clone().into())?;
    let argv = words.into_iter().map(to_word).collect::<Result<Vec<_>, _>>()?;
    // A directory that is not the caller's.
    let _ = chdir("/");
    system_calls::reset_signals();
    // The caller's limits would end that program in the middle; the unit has none of them.
    afresh::settle();
    execve(&path, &argv, &ENVIRONMENT)
        .map_err(|errno| format!("{} could not be executed: {errno}", program.display()))
}
