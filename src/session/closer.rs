//! The closer: root's process beside a server with a session. It has what the modules keep from opening the session,
//! waits for the end of the process that opened it, which is by then the server or its supervisor, and closes it.

use std::os::fd::{AsFd, AsRawFd};

use ground::ending::{GRACE, end_children};
use ground::pidfd::Pidfd;
use ground::syslog::{self, Severity};
use ground::system_calls::{self, afresh};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, close, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use crate::order::Order;
use crate::pam::{LONGEST, Session, give_back_memory};

/// Starts the closer of a session that this process has opened. It is nobody's child here, but belongs to the process
/// that receives orphans.
///
/// # Errors
/// What the kernel says. The session is closed then.
pub fn start(session: Session, order: &Order) -> Result<(), Errno> {
    let served = Pidfd::open(Pid::this())?;
    match system_calls::fork()? {
        ForkResult::Parent { child } => {
            // The closer has it now.
            std::mem::forget(session);
            waitpid(child, None).map(drop)
        }
        ForkResult::Child => match system_calls::fork() {
            Ok(ForkResult::Child) => {
                close_after(&served, session, order);
                system_calls::exit_now(0)
            }
            Ok(ForkResult::Parent { .. }) => system_calls::exit_now(0),
            Err(_) => {
                drop(session);
                system_calls::exit_now(1)
            }
        },
    }
}

fn close_after(served: &Pidfd, session: Session, order: &Order) {
    let signals = settle(order);
    give_back_memory();
    let mut watched = vec![PollFd::new(served.as_fd(), PollFlags::POLLIN)];
    watched.extend(signals.as_ref().map(|one| PollFd::new(one.as_fd(), PollFlags::POLLIN)));
    while poll(&mut watched, PollTimeout::NONE) == Err(Errno::EINTR) {}
    // systemd and logind ask all processes to end at once. The server is to have its session for as long as it takes.
    let _ = served.wait_for_end(GRACE);
    close_in_time(session);
}

/// Leaves everything that is the server's: descriptors, limits, terminal. Returns what tells of requests to end.
fn settle(order: &Order) -> Option<SignalFd> {
    let mut asking = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        asking.add(signal);
    }
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&asking), None);
    let _ = setsid();
    if let Ok(null) = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()) {
        let _ = dup2_stdin(&null).and(dup2_stdout(&null)).and(dup2_stderr(&null));
    }
    for descriptor in order.list_descriptors() {
        let _ = close(descriptor.as_raw_fd());
    }
    let _ = afresh::refresh_limits();
    SignalFd::with_flags(&asking, SfdFlags::SFD_CLOEXEC).ok()
}

/// Has a child close the session, and ends it, with all that it started, if that takes too long.
fn close_in_time(session: Session) {
    let _ = prctl::set_child_subreaper(true);
    match system_calls::fork() {
        Ok(ForkResult::Parent { child }) => {
            std::mem::forget(session);
            if !Pidfd::open(child).is_ok_and(|held| held.wait_for_end(LONGEST)) {
                log("the modules have not closed the session in time, and are ended");
            }
            end_children(GRACE);
        }
        Ok(ForkResult::Child) => {
            drop(session);
            system_calls::exit_now(0)
        }
        Err(errno) => {
            std::mem::forget(session);
            log(&format!("the session was not closed: fork: {errno}"));
        }
    }
}

/// Nobody reads our stderr.
fn log(text: &str) {
    let _ = syslog::write_line("sudospawner-session", Severity::Warning, text);
}
