//! The one process of ours that stays beside a running server, as the target.
//!
//! It reaps, carries the server's output to the Hub's log, tells the mediator of an early end, ends
//! the server if its caller never learnt of it, and ends what the server left behind. There is one
//! per running server, so what it holds in memory is next to nothing.

pub mod relay;
pub mod report;

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::process::{End, tree};
use crate::system_calls;
use relay::Relay;
use report::Report;

/// The name by which the supervisor is started, and shows itself in `ps`. The caller cannot choose
/// it: argv\[0\] is the path that sudo was given.
const NAME: &str = "sudospawner-supervisor";
/// So much of the server's last output is kept for the report of an early end.
pub const TAIL_BYTES: usize = 4096;
/// The byte on the delivery pipe that says that the caller has its reply.
pub const DELIVERED: u8 = b'd';
/// How long SIGTERM may take before SIGKILL follows.
pub const GRACE: Duration = Duration::from_secs(3);
/// After this time an ending is over: what cannot be killed is not waited for.
pub const LONGEST_ENDING: Duration = Duration::from_secs(10);
/// While something is to be ended, how often to look for children that were just handed to us.
const ENDING_INTERVAL: Duration = Duration::from_millis(50);

/// Whether a process is a supervisor, going by its name.
#[must_use]
pub fn is_supervisor(pid: Pid) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).next() == Some(NAME.as_bytes()))
}

/// What a supervisor is started with: its server, and its ends of three pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inherited {
    /// The server, a child of this process.
    pub server: Pid,
    /// To read what the server writes.
    pub output: RawFd,
    /// To write reports to the mediator.
    pub report: RawFd,
    /// To read whether the caller has its reply.
    pub delivered: RawFd,
}

impl Inherited {
    /// The command line that says it.
    #[must_use]
    pub fn to_argv(self) -> Vec<CString> {
        let numbers = [self.server.as_raw(), self.output, self.report, self.delivered];
        let words = numbers.iter().map(ToString::to_string);
        std::iter::once(NAME.to_owned()).chain(words).flat_map(CString::new).collect()
    }

    fn from_argv(argv: impl Iterator<Item = std::ffi::OsString>) -> Option<Self> {
        let numbers: Vec<i32> =
            argv.skip(1).map_while(|word| word.to_str()?.parse().ok()).collect();
        let [server, output, report, delivered] = numbers.try_into().ok()?;
        Some(Self { server: Pid::from_raw(server), output, report, delivered })
    }
}

/// If this process was started as a supervisor, is that until its end.
#[must_use]
pub fn run_if_asked() -> Option<ExitCode> {
    let mut argv = std::env::args_os().peekable();
    if argv.peek().map(AsRef::as_ref) != Some(OsStr::new(NAME)) {
        return None;
    }
    let supervisor = Inherited::from_argv(argv).and_then(Supervisor::take_over);
    Some(supervisor.map_or(ExitCode::FAILURE, Supervisor::run))
}

/// The pipes to a mediator that has not yet delivered its reply.
struct Mediator {
    report: File,
    /// `None` once it has ended without the byte.
    delivered: Option<OwnedFd>,
}

struct Supervisor {
    server: Pid,
    signals: SignalFd,
    relay: Relay,
    mediator: Option<Mediator>,
    /// How the server ended, once it has.
    end: Option<End>,
    /// Since when something is being ended: the server, or what it left.
    ending_since: Option<Instant>,
    /// Those who have had their SIGTERM.
    warned: Vec<Pid>,
}

impl Supervisor {
    fn take_over(inherited: Inherited) -> Option<Self> {
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
            relay: Relay::new(output, inherited.server).ok()?,
            mediator: Some(mediator),
            end: None,
            ending_since: None,
            warned: Vec::new(),
        })
    }

    fn run(mut self) -> ExitCode {
        // A server that ended before signals were watched has left no signal behind.
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
        ExitCode::SUCCESS
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
        let ending = self.ending_since.map(|_| ENDING_INTERVAL);
        let timeout = [ending, self.relay.patience()].into_iter().flatten().min();
        let timeout = timeout.map_or(PollTimeout::NONE, |limit| {
            PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)
        });
        // EINTR cannot be, and whatever else is wrong shows where the descriptors are used.
        let _ = poll(&mut watched, timeout);
    }

    /// Passes on to the server what somebody sends to us.
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

    /// Learns whether the caller has its reply; if the mediator has gone without that byte, the
    /// server is nobody's and ends.
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
            self.ending_since = Some(Instant::now());
        }
    }

    /// Reaps all that have ended; whether children are left.
    fn reap(&mut self) -> bool {
        loop {
            let (pid, end) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, status)) => (pid, End::Exited(status)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, End::Killed(signal as i32)),
                Ok(WaitStatus::StillAlive) => return true,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(_) => return false,
            };
            self.warned.retain(|warned| *warned != pid);
            if pid == self.server {
                self.end = Some(end);
                self.ending_since = Some(Instant::now());
                self.report_end(end);
            }
        }
    }

    /// Tells the mediator, if it still waits, how the server ended and what it said last.
    fn report_end(&mut self, end: End) {
        self.relay.forward();
        if let Some(mut mediator) = self.mediator.take() {
            let mut message = Report::Ended(end).to_bytes().to_vec();
            message.extend_from_slice(self.relay.tail());
            let _ = mediator.report.write_all(&message);
        }
    }

    /// One step in ending the server that nobody asked for, or what the server left: SIGTERM to
    /// every child, and SIGKILL after the grace. A dead child's children become ours, so that in
    /// the end this reaches all of them, in whatever session they are. They cannot be mistaken for
    /// others: a child's pid is not given anew before we have reaped it.
    fn continue_ending(&mut self) {
        let Some(since) = self.ending_since else { return };
        let out_of_patience = since.elapsed() >= GRACE;
        let children = match self.end {
            None => vec![self.server],
            Some(_) => tree::list_children(Pid::this()),
        };
        for child in children {
            if out_of_patience {
                let _ = kill(child, Signal::SIGKILL);
            } else if !self.warned.contains(&child) {
                let _ = kill(child, Signal::SIGTERM);
                self.warned.push(child);
            }
        }
    }

    fn is_ending_over(&self) -> bool {
        self.ending_since.is_some_and(|since| since.elapsed() >= LONGEST_ENDING)
    }
}

/// At most 15 bytes, see PR_SET_NAME in prctl(2); executed by descriptor, the kernel would call us
/// by the descriptor's number.
const SHORT_NAME: &CStr = c"sudospawner";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_supervisor_is_started_with_survives_the_command_line() {
        let inherited =
            Inherited { server: Pid::from_raw(4711), output: 5, report: 7, delivered: 9 };
        let argv = inherited.to_argv().into_iter();
        let argv = argv.map(|word| word.into_string().unwrap().into());
        assert_eq!(Inherited::from_argv(argv), Some(inherited));
    }

    #[test]
    fn a_command_line_with_other_words_starts_no_supervisor() {
        for line in ["", "x", "x 1 2 3", "x 1 2 3 four", "x 1 2 3 4 5"] {
            let argv = line.split(' ').map(Into::into);
            assert_eq!(Inherited::from_argv(argv), None, "{line:?}");
        }
    }
}
