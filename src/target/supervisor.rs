//! Our only process that stays beside a running server. It runs as the target.
//!
//! It reaps, carries the server's output to the Hub's log, reports an early end to the mediator, ends the
//! server if its caller never learnt of it, and ends what the server left behind. Every running server has
//! one, so it uses next to no memory.

pub mod inherited;
pub mod log_file;
pub mod relay;

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};

use ground::ending::{self, Ending, GRACE, end_like};
use ground::report::{End, Report};
use ground::system_calls;
use ground::wire::{DELIVERED, send_to};
use inherited::{Inherited, NAME};
use relay::Relay;
use root::policy::file::Leftovers;

/// Whether a process is a supervisor, by its name.
#[must_use]
pub fn is_supervisor(pid: Pid) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).next() == Some(NAME.as_bytes()))
}

/// If this process was started as a supervisor, supervises until its end.
#[must_use]
pub fn run_if_asked() -> Option<ExitCode> {
    let mut argv = std::env::args_os().peekable();
    if argv.peek().map(AsRef::as_ref) != Some(OsStr::new(NAME)) {
        return None;
    }
    // Root never supervises, and reads no further word of the command line.
    let argv = Some(argv).filter(|_| !geteuid().is_root());
    let supervisor = argv.and_then(Inherited::from_argv).and_then(Supervisor::take_over);
    Some(supervisor.map_or(ExitCode::FAILURE, Supervisor::run))
}

/// The pipes to a mediator that has not yet delivered its reply.
struct Mediator {
    report: File,
    /// `None` once it has ended without that byte.
    delivered: Option<OwnedFd>,
}

struct Supervisor {
    server: Pid,
    signals: SignalFd,
    relay: Relay,
    mediator: Option<Mediator>,
    /// How the server ended, if it has.
    end: Option<End>,
    /// The ending in progress: of the server, or of what it left.
    ending: Option<Ending>,
    leftovers: Leftovers,
}

impl Supervisor {
    fn take_over(inherited: Inherited) -> Option<Self> {
        system_calls::close_to_own_account();
        let _ = prctl::set_name(SHORT_NAME);
        let mut watched = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            watched.add(signal);
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&watched), None).ok()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let mediator = Mediator {
            report: File::from(system_calls::adopt_descriptor(inherited.report)?),
            delivered: Some(system_calls::adopt_descriptor(inherited.delivered)?),
        };
        let output = system_calls::adopt_descriptor(inherited.output)?;
        Some(Self {
            server: inherited.server,
            signals: SignalFd::with_flags(&watched, flags).ok()?,
            relay: Relay::new(output, inherited.server, inherited.log).ok()?,
            mediator: Some(mediator),
            end: None,
            ending: None,
            leftovers: inherited.leftovers,
        })
    }

    fn run(mut self) -> ExitCode {
        // If the server ended before signals were watched, there is no signal of it.
        let mut children_left = self.reap();
        while self.end.is_none() || (children_left && !self.is_ending_over()) {
            self.wait_for_event();
            self.relay.forward();
            self.forward_signals();
            self.watch_delivery();
            children_left = self.reap();
            self.continue_ending();
        }
        self.relay.finish();
        // Root's keeper, if there is one, tells the hooks after the server.
        self.end.map_or(ExitCode::FAILURE, end_like)
    }

    fn wait_for_event(&self) {
        let mut watched = Vec::with_capacity(4);
        watched.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
        if let Some(delivered) =
            self.mediator.as_ref().and_then(|mediator| mediator.delivered.as_ref())
        {
            watched.push(PollFd::new(delivered.as_fd(), PollFlags::POLLIN));
        }
        watched.extend(self.relay.watched());
        let ending = self.ending.as_ref().map(|_| ending::INTERVAL);
        let timeout = [ending, self.relay.patience()].into_iter().flatten().min();
        let timeout = timeout.map_or(PollTimeout::NONE, |limit| {
            PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)
        });
        // EINTR cannot occur. Any other error shows where the descriptors are used.
        let _ = poll(&mut watched, timeout);
    }

    /// Passes signals that somebody sends to us on to the server.
    fn forward_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok());
            if let (Some(signal), None) = (signal, self.end)
                && signal != Signal::SIGCHLD
            {
                let _ = kill(self.server, signal);
            }
        }
    }

    /// Learns whether the caller has its reply. If the mediator went away without that byte, nobody has the
    /// server, and it ends.
    fn watch_delivery(&mut self) {
        let Some(mediator) = &mut self.mediator else { return };
        let Some(delivered) = &mediator.delivered else { return };
        let mut watched = [PollFd::new(delivered.as_fd(), PollFlags::POLLIN)];
        if !poll(&mut watched, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
            return;
        }
        let mut byte = [0];
        if nix::unistd::read(delivered, &mut byte) == Ok(1) && byte == [DELIVERED] {
            self.mediator = None;
            self.relay.forget_tail();
        } else {
            mediator.delivered = None;
            self.ending = Some(Ending::begin(GRACE));
        }
    }

    /// Reaps everything that has ended, and returns whether children are left.
    fn reap(&mut self) -> bool {
        loop {
            let (pid, end) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, status)) => (pid, End::Exited(status)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, End::Killed(signal as i32)),
                Ok(WaitStatus::StillAlive) => return true,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(_) => return false,
            };
            if pid == self.server {
                self.end = Some(end);
                self.ending = match self.leftovers {
                    Leftovers::Kill => Some(Ending::begin(GRACE)),
                    Leftovers::Keep => None,
                };
                self.report_end(end);
            }
        }
    }

    /// If the mediator still waits, tells it how the server ended and its last output.
    fn report_end(&mut self, end: End) {
        self.relay.forward();
        if let Some(mut mediator) = self.mediator.take() {
            let tail = String::from_utf8_lossy(self.relay.tail()).into_owned();
            send_to(&mut mediator.report, &Report::Ended(end, tail));
        }
    }

    /// Takes one step to end the server that nobody has, or what the server left.
    fn continue_ending(&mut self) {
        let Some(ending) = &mut self.ending else { return };
        match self.end {
            None => ending.signal(&[self.server]),
            Some(_) => ending.signal(&ending::list_children()),
        }
    }

    fn is_ending_over(&self) -> bool {
        self.ending.as_ref().is_some_and(Ending::is_over)
    }
}

/// At most 15 bytes, see PR_SET_NAME in prctl(2). After an exec by descriptor, the kernel would use the
/// descriptor's number as our name.
const SHORT_NAME: &CStr = c"sudospawner";
