//! `sudospawner check`, `sudoers` and `policy`, for the people who set a machine up. `sudospawner-setup` does
//! what they say; here is only what comes before.
//!
//! sudoers permits this program with any arguments, so that a Hub can ask for these as well. Check 10 of
//! docs/security.md: a process that sudo made root for somebody becomes that somebody again, for good, and
//! then executes the other program. Nothing is done as root unless root itself has called.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;

use ground::system_calls;
use nix::errno::Errno;
use nix::unistd::{execv, geteuid};

use crate::account::{Account, Caller};
use crate::privileges::become_account;
use crate::trusted_file::check_trusted;

/// The first word of a command line that is for the other program.
const SUBCOMMANDS: [&str; 3] = ["check", "sudoers", "policy"];

/// The exit status for a caller that cannot be told, and where the other program cannot be executed.
pub const REFUSED: u8 = 2;

/// If the first word of a command line is a subcommand, becomes the program that carries it out.
///
/// # Errors
/// A sentence if that cannot be.
#[must_use]
pub fn execute_if_asked(words: &[OsString]) -> Option<String> {
    let is_subcommand = words.first().is_some_and(|word| SUBCOMMANDS.iter().any(|one| word == one));
    is_subcommand.then(|| execute(words).unwrap_or_else(|sentence| sentence))
}

/// Comes back with a sentence in either case.
fn execute(words: &[OsString]) -> Result<String, String> {
    let caller = Caller::identify().map_err(|error| error.to_string())?;
    if geteuid().is_root() && !caller.uid.is_root() {
        let account = Account::by_uid(caller.uid);
        let account = account.ok_or_else(|| format!("uid {} has no account", caller.uid))?;
        become_account(&account).map_err(|denial| denial.to_string())?;
    }
    let own = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let program = own.with_file_name("sudospawner-setup");
    // Check 2: what root executes nobody else can have written.
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
