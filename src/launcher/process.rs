//! The process launcher: supervisor and server as processes of their own, beside the mediator.
//!
//! ```text
//! child (of the mediator, or of the monitor), as the target
//!   ├── fork ── server: home, exec
//!   └─ executes this binary anew as the supervisor
//! ```
//!
//! The server is forked before the supervisor becomes a new program: so the request's arguments and
//! environment reach it in memory alone, and the supervisor keeps nothing of them.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode as FileMode, umask};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, execveat, pipe2, setsid};

use super::Plan;
use super::link::Link;
use crate::error::Error;
use crate::policy::file::Policy;
use crate::policy::units::Umask;
use crate::privileges::Unprivileged;
use crate::server::Refusal;
use crate::supervisor::report::{Report, Setback};
use crate::supervisor::{Inherited, LogPlace};
use crate::system_calls::{self, Fork};

/// The descriptors that a launch needs in the process that is to be the supervisor.
#[derive(Debug)]
pub struct Equipment {
    own: OwnedFd,
    null: OwnedFd,
    output: OwnedFd,
    server_output: OwnedFd,
    report: File,
    delivered: OwnedFd,
    /// The umask that we were called with, for where no policy says another.
    umask: FileMode,
}

impl Equipment {
    /// Opens everything; the link is the mediator's end, and must be dropped in a child.
    ///
    /// # Errors
    /// [`Error::LaunchFailed`].
    pub fn open(umask: FileMode) -> Result<(Self, Link), Error> {
        let failed =
            |step: &'static str| move |errno| Error::LaunchFailed { step: step.to_owned(), errno };
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
        let null = open("/dev/null", flags, FileMode::empty());
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let own = open("/proc/self/exe", flags, FileMode::empty());
        let (output, server_output) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?;
        let (reports, report) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?;
        let (delivered, delivery) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?;
        let equipment = Self {
            own: own.map_err(failed("opening our own binary"))?,
            null: null.map_err(failed("opening /dev/null"))?,
            output,
            server_output,
            report: File::from(report),
            delivered,
            umask,
        };
        Ok((equipment, Link::new(File::from(reports), delivery)))
    }

    /// Leaves the caller's session, stdin and stdout, and receives orphans from now on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn detach(&self) -> Result<(), Errno> {
        setsid()?;
        prctl::set_child_subreaper(true)?;
        dup2_stdin(&self.null)?;
        dup2_stdout(&self.null)
    }

    /// Leaves the Hub's log, too.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn leave_log(&self) -> Result<(), Errno> {
        dup2_stderr(&self.null)
    }

    /// The end of the delivery pipe that closes with the mediator.
    #[must_use]
    pub fn delivered(&self) -> &OwnedFd {
        &self.delivered
    }

    /// Tells the mediator something; one that has died needs no report.
    pub fn send(&mut self, message: &Report) {
        let _ = self.report.write_all(&message.to_bytes());
    }

    /// Executes our own binary, by descriptor, with an empty environment; returns only if that fails.
    ///
    /// Anew, since a fork would keep all that the mediator has allocated; and by descriptor, so that a
    /// package that has just been replaced, or a directory that is closed to the target, does not
    /// change what is executed.
    pub fn execute_anew(&self, argv: &[CString]) -> Errno {
        let no_variables: [&CStr; 0] = [];
        execveat(&self.own, c"", argv, &no_variables, AtFlags::AT_EMPTY_PATH)
            .err()
            .unwrap_or(Errno::ENOEXEC)
    }

    /// Forks the server and becomes its supervisor; returns only if that fails, and then without a
    /// server.
    pub fn start_server(&mut self, plan: &Plan, policy: &Policy, proof: &Unprivileged) -> Setback {
        umask(
            policy
                .server
                .umask
                .map_or(self.umask, |Umask(bits)| FileMode::from_bits_truncate(bits)),
        );
        let server = match system_calls::fork() {
            Ok(Fork::Parent(server)) => server,
            Ok(Fork::Child) => {
                let refusal = self.become_server(plan, proof);
                self.send(&Report::Refused(refusal));
                system_calls::exit_now(127)
            }
            Err(errno) => return Setback::new("fork", errno),
        };
        self.send(&Report::Server(server));
        let inherited = Inherited {
            server,
            output: self.output.as_raw_fd(),
            report: self.report.as_raw_fd(),
            delivered: self.delivered.as_raw_fd(),
            leftovers: policy.server.leftovers,
            log: LogPlace::choose(policy.server.log, proof, &plan.server_name),
        };
        let kept = keep_on_exec(&self.output)
            .and_then(|()| keep_on_exec(&self.report))
            .and_then(|()| keep_on_exec(&self.delivered));
        let errno = match kept {
            Ok(()) => self.execute_anew(&inherited.to_argv()),
            Err(errno) => errno,
        };
        let _ = kill(server, Signal::SIGKILL);
        Setback::new("the supervisor", errno)
    }

    fn become_server(&self, plan: &Plan, proof: &Unprivileged) -> Refusal {
        match dup2_stdout(&self.server_output).and(dup2_stderr(&self.server_output)) {
            Ok(()) => plan.executable.execute(&plan.args, &plan.environment.variables, proof),
            Err(errno) => Refusal::Execution(errno),
        }
    }
}

/// Starts supervisor and server from this process, which is the target already.
///
/// # Errors
/// [`Error::LaunchFailed`] for what fails in this process. What fails in the others comes as a
/// report.
pub fn start(
    plan: &Plan,
    policy: &Policy,
    inherited_umask: FileMode,
    proof: &Unprivileged,
) -> Result<Link, Error> {
    let (mut equipment, link) = Equipment::open(inherited_umask)?;
    let forked = system_calls::fork();
    match forked.map_err(|errno| Error::LaunchFailed { step: "fork".to_owned(), errno })? {
        Fork::Parent(_) => Ok(link),
        Fork::Child => {
            // With the mediator's ends open it would never see the mediator go.
            drop(link);
            let setback = match equipment.detach() {
                Ok(()) => equipment.start_server(plan, policy, proof),
                Err(errno) => Setback::new("setsid", errno),
            };
            equipment.send(&Report::Failed(setback));
            system_calls::exit_now(1)
        }
    }
}

fn keep_on_exec(descriptor: impl AsFd) -> Result<(), Errno> {
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty())).map(drop)
}
