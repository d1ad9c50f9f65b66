//! The remover: a small process of the target's beside a server with files, which removes their folder when the server
//! has ended. It holds nothing of the request.

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ground::pidfd::Pidfd;
use ground::system_calls;
use ground::waiting::wait_for_any;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags};
use nix::sys::prctl;
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, geteuid};

use crate::error::Error;

/// Its `argv[0]`, and its name in `ps`; see the supervisor's.
const NAME: &str = "sudospawner-files";

/// Leaves a process that removes a folder when this process has ended, and holds its lock until then.
///
/// # Errors
/// [`Denial::LaunchFailed`](ground::denial::Denial::LaunchFailed).
pub fn leave(folder: &Path, lock: BorrowedFd<'_>) -> Result<(), Error> {
    let server = Pidfd::open(Pid::this()).map_err(Error::at("pidfd_open"))?;
    match system_calls::fork().map_err(Error::at("fork"))? {
        ForkResult::Parent { child } => match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, 0)) => Ok(()),
            _ => Err(Error::at("the process that removes the server's files")(Errno::EAGAIN)),
        },
        ForkResult::Child => {
            // A signal to all processes of the server's ends it, and the remover has work to do then.
            let _ = SigSet::all().thread_block();
            // Not a child of the server's, which may wait for its children.
            match system_calls::fork() {
                Ok(ForkResult::Parent { .. }) => system_calls::exit_now(0),
                Ok(ForkResult::Child) => become_remover(folder, lock, &server),
                Err(_) => {}
            }
            system_calls::exit_now(1)
        }
    }
}

/// Returns only on failure.
fn become_remover(folder: &Path, lock: BorrowedFd<'_>, server: &Pidfd) {
    let numbers = [lock.as_raw_fd(), server.as_fd().as_raw_fd()];
    let words = [OsString::from(NAME)].into_iter();
    let words = words.chain(numbers.map(|number| number.to_string().into()));
    let words = words.chain([folder.as_os_str().to_owned()]);
    let argv: Vec<CString> =
        words.flat_map(|word| CString::new(word.into_encoded_bytes())).collect();
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
    let moved = null.and_then(|null| {
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        chdir("/")
    });
    if moved.is_ok() {
        system_calls::execute_anew(&argv, &[lock, server.as_fd()]);
    }
}

/// Whether a process is a remover, by its name.
#[must_use]
pub fn is_remover(pid: Pid) -> bool {
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).next() == Some(NAME.as_bytes()))
}

/// If this process was started as a remover, waits for the server's end, and removes its files.
#[must_use]
pub fn run_if_asked() -> Option<ExitCode> {
    let mut argv = std::env::args_os();
    if argv.next()? != OsStr::new(NAME) {
        return None;
    }
    // Root never has such files, and reads no further word of the command line.
    let words = Some(argv.collect()).filter(|_| !geteuid().is_root());
    Some(words.and_then(wait_and_remove).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}

fn wait_and_remove(words: Vec<OsString>) -> Option<()> {
    let [lock, server, path]: [OsString; 3] = words.try_into().ok()?;
    let adopt = |word: OsString| system_calls::adopt_descriptor(word.to_str()?.parse().ok()?);
    // The lock is held until the end.
    let (_lock, server) = (adopt(lock)?, adopt(server)?);
    let _ = prctl::set_name(c"sudospawner");
    loop {
        let mut watched = [PollFd::new(server.as_fd(), PollFlags::POLLIN)];
        if wait_for_any(&mut watched, Duration::MAX).ok()?.contains(&true) {
            return fs::remove_dir_all(path).ok();
        }
    }
}
