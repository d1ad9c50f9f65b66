//! The keeper: the process of root's that stays beside a server if, and only if, a hook left a process
//! behind, such as the daemon of a FUSE mount. When the server's supervisor has ended, it ends those.
//!
//! It holds nothing: not the request, which it has never seen since it was executed anew, not a pipe.

use std::ffi::{CString, OsStr};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};

use ground::ending::{GRACE, end_children};

/// The name by which it is started and shows itself in `ps`; see the supervisor's.
pub const NAME: &str = "sudospawner-keeper";

/// A supervisor that is stopped again and again is ended after so many times.
const MOST_STOPS: u32 = 20;

/// The command line of a keeper for this supervisor, which is a child of the calling process.
#[must_use]
pub fn to_argv(supervisor: Pid) -> Vec<CString> {
    [NAME.to_owned(), supervisor.to_string()].into_iter().flat_map(CString::new).collect()
}

/// If this process was started as a keeper, is that until its end.
#[must_use]
pub fn run_if_asked() -> Option<ExitCode> {
    let mut argv = std::env::args_os();
    if argv.next()? != OsStr::new(NAME) {
        return None;
    }
    let supervisor = argv.next().and_then(|word| word.to_str()?.parse().ok()).map(Pid::from_raw);
    // Only root has something to keep, and only this program gives root the name.
    let supervisor = supervisor.filter(|_| geteuid().is_root());
    Some(supervisor.map_or(ExitCode::FAILURE, keep))
}

/// Waits for the end of this child, and ends what hooks left then.
pub fn keep(supervisor: Pid) -> ExitCode {
    let _ = prctl::set_name(c"sudospawner");
    let mut times_stopped = 0;
    loop {
        match waitpid(None, Some(WaitPidFlag::WUNTRACED)) {
            // Its account can stop it, and so hold up the keeper. It is continued, and killed if that goes on.
            Ok(WaitStatus::Stopped(pid, _)) if pid == supervisor => {
                let stays = times_stopped < MOST_STOPS;
                let _ = kill(pid, if stays { Signal::SIGCONT } else { Signal::SIGKILL });
                times_stopped = times_stopped.saturating_add(1);
            }
            Ok(ended) if ended.pid() != Some(supervisor) => {}
            Err(Errno::EINTR) => {}
            // Or there is nothing left to keep.
            Ok(_) | Err(_) => break,
        }
    }
    // A FUSE daemon has data to write.
    end_children(GRACE);
    ExitCode::SUCCESS
}
