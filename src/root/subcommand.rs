//! `sudospawner check`, `sudoers`, `policy` and `socket`, for administrators, `profiles` and `jobs`, for the Hub.
//! `sudospawner-setup` does the work; this file has only what comes before.
//!
//! sudoers permits this program with any arguments, so a Hub can call these, too. Check 10 of
//! docs/security.md: a process that sudo made root for somebody becomes that account again, for good, and
//! then executes the other program. Nothing runs as root unless root itself has called.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;

use ground::system_calls;
use nix::errno::Errno;
use nix::unistd::{execv, geteuid};

use crate::account::{Account, Caller};
use crate::privileges::become_account;
use crate::trusted_file::check_trusted;

/// The first words of command lines for the other program.
const SUBCOMMANDS: [&str; 6] = ["check", "sudoers", "policy", "socket", "profiles", "jobs"];

/// The exit status if the caller is unknown, or the other program cannot be executed.
pub const REFUSED: u8 = 2;

/// If the first word of the command line is a subcommand, executes the program for it.
///
/// # Errors
/// A sentence if that fails.
#[must_use]
pub fn execute_if_asked(words: &[OsString]) -> Option<String> {
    let is_subcommand = words.first().is_some_and(|word| SUBCOMMANDS.iter().any(|one| word == one));
    is_subcommand.then(|| execute(words).unwrap_or_else(|sentence| sentence))
}

/// Returns a sentence in either case.
fn execute(words: &[OsString]) -> Result<String, String> {
    let caller = Caller::identify().map_err(|error| error.to_string())?;
    if geteuid().is_root() && !caller.uid.is_root() {
        let account = Account::by_uid(caller.uid);
        let account = account.ok_or_else(|| format!("uid {} has no account", caller.uid))?;
        become_account(&account).map_err(|denial| denial.to_string())?;
    }
    let program = system_calls::find_beside("sudospawner-setup");
    // Check 2: nobody but root can have written what root executes.
    if geteuid().is_root() {
        check_trusted(&program).map_err(|distrust| distrust.to_string())?;
    }
    let argv = [program.as_os_str()].into_iter().chain(words.iter().map(OsString::as_os_str));
    let argv: Vec<CString> = argv.flat_map(|word| CString::new(word.as_bytes())).collect();
    let path = argv.first().cloned().unwrap_or_default();
    system_calls::reset_signals();
    let errno = execv(&path, &argv).err().unwrap_or(Errno::ENOEXEC);
    Err(format!("{} cannot be executed: {errno}", program.display()))
}
