//! The keeper: a root process that stays beside a server only if a hook left a process behind, such as the
//! daemon of a FUSE mount. When the server's supervisor has ended, the keeper ends what hooks left.
//!
//! It holds nothing: no pipe, and no request, which it has not seen since it was executed anew.

use std::ffi::{CString, OsStr};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};

use ground::ending::{GRACE, end_children};

/// Its `argv[0]`, and its name in `ps`; see the supervisor's.
pub const NAME: &str = "sudospawner-keeper";

/// A supervisor is killed after being stopped this many times.
const MOST_STOPS: u32 = 20;

/// The command line of a keeper for this supervisor, a child of the calling process.
#[must_use]
pub fn to_argv(supervisor: Pid) -> Vec<CString> {
    [NAME.to_owned(), supervisor.to_string()].into_iter().flat_map(CString::new).collect()
}

/// If this process was started as a keeper, keeps until its end.
#[must_use]
pub fn run_if_asked() -> Option<ExitCode> {
    let mut argv = std::env::args_os();
    if argv.next()? != OsStr::new(NAME) {
        return None;
    }
    let supervisor = argv.next().and_then(|word| word.to_str()?.parse().ok()).map(Pid::from_raw);
    // Only root has something to keep, and only this program starts a root process by that name.
    let supervisor = supervisor.filter(|_| geteuid().is_root());
    Some(supervisor.map_or(ExitCode::FAILURE, keep))
}

/// Waits for this child to end, and then ends what hooks left.
pub fn keep(supervisor: Pid) -> ExitCode {
    let _ = prctl::set_name(c"sudospawner");
    let mut times_stopped = 0;
    loop {
        match waitpid(None, Some(WaitPidFlag::WUNTRACED)) {
            // The account can stop the supervisor to hold up the keeper. Continue it, and finally kill it.
            Ok(WaitStatus::Stopped(pid, _)) if pid == supervisor => {
                let stays = times_stopped < MOST_STOPS;
                let _ = kill(pid, if stays { Signal::SIGCONT } else { Signal::SIGKILL });
                times_stopped = times_stopped.saturating_add(1);
            }
            Ok(ended) if ended.pid() != Some(supervisor) => {}
            Err(Errno::EINTR) => {}
            // The supervisor has ended, or nothing is left to keep.
            Ok(_) | Err(_) => break,
        }
    }
    // A FUSE daemon has data to write.
    end_children(GRACE);
    ExitCode::SUCCESS
}
