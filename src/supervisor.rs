//! The one process of ours that stays beside a running server, as the target.
//!
//! It reaps, carries the server's output to the Hub's log, tells the mediator of an early end, ends
//! the server if its caller never learnt of it, and ends what the server left behind. There is one
//! per running server, so what it holds in memory is next to nothing.

pub mod log_file;
pub mod relay;
pub mod report;

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};

use crate::ending::{self, Ending};
use crate::policy::file::{Leftovers, Log};
use crate::privileges::Unprivileged;
use crate::process::{End, tree};
use crate::server_name::ServerName;
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

/// Whether a process is a supervisor, going by its name.
#[must_use]
pub fn is_supervisor(pid: Pid) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).next() == Some(NAME.as_bytes()))
}

/// What a supervisor is started with: its server, and its ends of three pipes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inherited {
    /// The server, a child of this process.
    pub server: Pid,
    /// To read what the server writes.
    pub output: RawFd,
    /// To write reports to the mediator.
    pub report: RawFd,
    /// To read whether the caller has its reply.
    pub delivered: RawFd,
    /// What becomes of the processes that the server leaves behind.
    pub leftovers: Leftovers,
    /// Where the server's log goes.
    pub log: LogPlace,
}

/// Where a server's log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPlace {
    /// To the Hub's log, and to the journal once the Hub is gone.
    Hub,
    /// To the journal.
    Journal,
    /// To this file, which is opened as the target.
    File(PathBuf),
}

impl LogPlace {
    /// The place that the policy names, for one server of the target's.
    #[must_use]
    pub fn choose(log: Log, unprivileged: &Unprivileged, server_name: &ServerName) -> Self {
        match log {
            Log::Hub => Self::Hub,
            Log::Journal => Self::Journal,
            Log::File => {
                let name = match server_name.escape() {
                    name if name.is_empty() => "singleuser.log".to_owned(),
                    name => format!("singleuser-{name}.log"),
                };
                let home = &unprivileged.target().home;
                Self::File(home.join(".local/state/sudospawner").join(name))
            }
        }
    }
}

impl Inherited {
    /// The command line that says it.
    #[must_use]
    pub fn to_argv(self) -> Vec<CString> {
        let numbers = [self.server.as_raw(), self.output, self.report, self.delivered];
        let numbers = numbers.iter().map(|number| number.to_string().into_bytes());
        let leftovers = match self.leftovers {
            Leftovers::Kill => &b"kill"[..],
            Leftovers::Keep => b"keep",
        };
        let log = match self.log {
            LogPlace::Hub => b"hub".to_vec(),
            LogPlace::Journal => b"journal".to_vec(),
            // Absolute, and so told apart from the two words.
            LogPlace::File(path) => path.into_os_string().into_vec(),
        };
        let words = std::iter::once(NAME.into()).chain(numbers).chain([leftovers.to_vec(), log]);
        words.flat_map(CString::new).collect()
    }

    fn from_argv(argv: impl Iterator<Item = OsString>) -> Option<Self> {
        let words: Vec<OsString> = argv.skip(1).collect();
        let [server, output, report, delivered, leftovers, log] = words.try_into().ok()?;
        let number = |word: OsString| word.to_str()?.parse::<i32>().ok();
        Some(Self {
            server: Pid::from_raw(number(server)?),
            output: number(output)?,
            report: number(report)?,
            delivered: number(delivered)?,
            leftovers: match leftovers.to_str()? {
                "kill" => Leftovers::Kill,
                "keep" => Leftovers::Keep,
                _ => return None,
            },
            log: match log.to_str() {
                Some("hub") => LogPlace::Hub,
                Some("journal") => LogPlace::Journal,
                _ => {
                    Some(PathBuf::from(log)).filter(|log| log.is_absolute()).map(LogPlace::File)?
                }
            },
        })
    }
}

/// If this process was started as a supervisor, is that until its end.
#[must_use]
pub fn run_if_asked() -> Option<ExitCode> {
    let mut argv = std::env::args_os().peekable();
    if argv.peek().map(AsRef::as_ref) != Some(OsStr::new(NAME)) {
        return None;
    }
    let inherited = Inherited::from_argv(argv).filter(|_| !geteuid().is_root());
    let supervisor = inherited.and_then(Supervisor::take_over);
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
    /// What is being ended: the server, or what it left.
    ending: Option<Ending>,
    leftovers: Leftovers,
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
            relay: Relay::new(output, inherited.server, inherited.log).ok()?,
            mediator: Some(mediator),
            end: None,
            ending: None,
            leftovers: inherited.leftovers,
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
        let ending = self.ending.as_ref().map(|_| ending::INTERVAL);
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
            self.ending = Some(Ending::begin(GRACE));
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

    /// Tells the mediator, if it still waits, how the server ended and what it said last.
    fn report_end(&mut self, end: End) {
        self.relay.forward();
        if let Some(mut mediator) = self.mediator.take() {
            let mut message = Report::Ended(end).to_bytes().to_vec();
            message.extend_from_slice(self.relay.tail());
            let _ = mediator.report.write_all(&message);
        }
    }

    /// One step in ending the server that nobody asked for, or what the server left.
    fn continue_ending(&mut self) {
        let Some(ending) = &mut self.ending else { return };
        match self.end {
            None => ending.signal(&[self.server]),
            Some(_) => ending.signal(&tree::list_children(Pid::this())),
        }
    }

    fn is_ending_over(&self) -> bool {
        self.ending.as_ref().is_some_and(Ending::is_over)
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
        for (leftovers, log) in [
            (Leftovers::Kill, LogPlace::Hub),
            (Leftovers::Keep, LogPlace::Journal),
            (Leftovers::Kill, LogPlace::File(PathBuf::from("/home/zoe/a b.log"))),
        ] {
            let server = Pid::from_raw(4711);
            let inherited =
                Inherited { server, output: 5, report: 7, delivered: 9, leftovers, log };
            let argv = inherited.clone().to_argv().into_iter();
            let argv = argv.map(|word| word.into_string().unwrap().into());
            assert_eq!(Inherited::from_argv(argv), Some(inherited));
        }
    }

    #[test]
    fn a_command_line_with_other_words_starts_no_supervisor() {
        for line in
            ["", "x 1 2 3 4", "x 1 2 3 four kill hub", "x 1 2 3 4 spare hub", "x 1 2 3 4 kill log"]
        {
            let argv = line.split(' ').map(Into::into);
            assert_eq!(Inherited::from_argv(argv), None, "{line:?}");
        }
    }
}
