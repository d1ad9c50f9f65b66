//! `--init`: stays beside the command and does what a container's first process must do: passes signals on,
//! reaps orphans, and exits like the command. By then it has given up root, too.

use std::process::ExitCode;

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};

use super::execution::Execution;
use crate::failure::Failure;
use ground::pidfd::Pidfd;
use ground::system_calls;

/// What shells add to a signal's number to get an exit status.
const KILLED: i32 = 128;

/// Every signal that this process gets, kept until it is read.
#[derive(Debug)]
pub struct HeldSignals {
    arrived: SignalFd,
}

impl HeldSignals {
    /// Holds signals from now on. Hooks and executed programs have to reset them.
    ///
    /// # Errors
    /// [`Failure::SystemError`].
    pub fn hold() -> Result<Self, Failure> {
        let failed = |errno| Failure::SystemError { step: "holding signals", errno };
        let all = SigSet::all();
        all.thread_block().map_err(failed)?;
        let arrived = SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC).map_err(failed)?;
        // Orphans come to us even if we are not the first process.
        prctl::set_child_subreaper(true).map_err(failed)?;
        Ok(Self { arrived })
    }

    /// Starts the command as a child and waits for its end. Returns its exit status, or 128 plus the number
    /// of the signal that killed it.
    ///
    /// # Errors
    /// [`Failure::SystemError`].
    pub fn stay_beside(self, execution: &Execution) -> Result<ExitCode, Failure> {
        let failed = |step| move |errno| Failure::SystemError { step, errno };
        let command = match system_calls::fork().map_err(failed("fork"))? {
            ForkResult::Parent { child: command } => command,
            ForkResult::Child => {
                let failure = execution.execute();
                log::error!("{failure}");
                system_calls::exit_now(failure.exit_status().into())
            }
        };
        let pidfd = Pidfd::open(command).map_err(failed("pidfd_open"))?;
        loop {
            match self.arrived.read_signal() {
                Ok(Some(signal)) if is_about_children(&signal) => {
                    if let Some(status) = reap(command) {
                        return Ok(ExitCode::from(status));
                    }
                }
                Ok(Some(signal)) if has_reached_all(&signal) => {}
                Ok(Some(signal)) => {
                    let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
                    let _ = pidfd.send_signal(number);
                }
                Ok(None) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Failure::SystemError { step: "signalfd", errno }),
            }
        }
    }
}

fn is_about_children(signal: &siginfo) -> bool {
    i32::try_from(signal.ssi_signo) == Ok(Signal::SIGCHLD as i32)
}

/// Whether a signal comes from the terminal (Ctrl-C, a change of its size). The command, which is in the same
/// process group, has then received it, too. The exception is a hang-up, which goes to only one process.
fn has_reached_all(signal: &siginfo) -> bool {
    signal.ssi_code == libc::SI_KERNEL
        && i32::try_from(signal.ssi_signo) != Ok(Signal::SIGHUP as i32)
}

/// Reaps everything that has ended. Returns the command's exit status if the command has ended.
fn reap(command: Pid) -> Option<u8> {
    let mut status = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == command => status = Some(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                status = Some(KILLED.saturating_add(signal as i32));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => break,
        }
    }
    status.map(|status| u8::try_from(status).unwrap_or(u8::MAX))
}
