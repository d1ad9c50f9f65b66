//! The keeper: a root process that stays beside a server if a hook left a process behind, such as the daemon of a
//! FUSE mount, or if the policy has hooks after a server. When the server's supervisor has ended, the keeper ends what
//! hooks left, and runs those hooks.
//!
//! It holds nothing but the lock on the server's place in its account's list ([`after`]): no pipe, and no request,
//! which it has not seen since it was executed anew.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use ground::ending::{GRACE, end_children};
use ground::report::End;

use crate::account::is_roots_own;
use crate::hooks::after;

/// Its `argv[0]`, and its name in `ps`; see the supervisor's.
pub const NAME: &str = "sudospawner-keeper";

/// A supervisor is killed after being stopped this many times.
const MOST_STOPS: u32 = 20;

/// The command line of a keeper for this supervisor, a child of the calling process, with the variables of the hooks
/// after the server.
#[must_use]
pub fn to_argv(supervisor: Pid, variables: &[Vec<u8>]) -> Vec<CString> {
    let words = [NAME.as_bytes().to_vec(), supervisor.to_string().into_bytes()];
    words.into_iter().chain(variables.iter().cloned()).flat_map(CString::new).collect()
}

/// If this process was started as a keeper, keeps until its end.
#[must_use]
pub fn run_if_asked() -> Option<ExitCode> {
    let mut argv = std::env::args_os();
    // Only root has something to keep, and only this program starts a process of root's own by that name.
    if argv.next()? != OsStr::new(NAME) || !is_roots_own() {
        return None;
    }
    let supervisor = Pid::from_raw(argv.next()?.to_str()?.parse().ok()?);
    Some(keep(supervisor, argv.map(OsString::into_vec).collect()))
}

/// Waits for this child to end, and then does what is left to do.
pub fn keep(supervisor: Pid, variables: Vec<Vec<u8>>) -> ExitCode {
    let _ = prctl::set_name(c"sudospawner");
    let mut times_stopped = 0;
    let told = loop {
        match waitpid(None, Some(WaitPidFlag::WUNTRACED)) {
            // The account can stop the supervisor to hold up the keeper. Continue it, and finally kill it.
            Ok(WaitStatus::Stopped(pid, _)) if pid == supervisor => {
                let stays = times_stopped < MOST_STOPS;
                let _ = kill(pid, if stays { Signal::SIGCONT } else { Signal::SIGKILL });
                times_stopped = times_stopped.saturating_add(1);
            }
            Ok(ended) if ended.pid() != Some(supervisor) => {}
            Err(Errno::EINTR) => {}
            // It ends as its server did: the account's word.
            Ok(WaitStatus::Exited(_, status)) => break Some(End::Exited(status)),
            Ok(WaitStatus::Signaled(_, signal, _)) => break Some(End::Killed(signal as i32)),
            // Nothing is left to keep.
            Ok(_) | Err(_) => break None,
        }
    };
    // A FUSE daemon has data to write.
    end_children(GRACE);
    after::run_hooks_after(&Pid::this().to_string(), variables, told);
    ExitCode::SUCCESS
}
