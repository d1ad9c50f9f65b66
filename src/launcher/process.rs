//! The process launcher: supervisor and server as processes of their own, beside the mediator.
//!
//! ```text
//! mediator ── fork ── supervisor: setsid, subreaper ── fork ── server: home, exec
//!                          └─ executes this binary anew
//! ```
//!
//! The server is forked before the supervisor becomes a new program: so the request's arguments and
//! environment reach it in memory alone, and the supervisor keeps nothing of them.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, execveat, pipe2, setsid};

use crate::error::Error;
use crate::privileges::Unprivileged;
use crate::server::{Executable, Refusal};
use crate::supervisor::report::Report;
use crate::supervisor::{self, Inherited, LONGEST_ENDING};
use crate::system_calls::{self, Fork};

/// The mediator's side of the two pipes to the supervisor.
#[derive(Debug)]
pub struct Link {
    reports: File,
    delivery: OwnedFd,
}

impl Link {
    /// Reads the next report; to be called when there is one.
    pub fn read_report(&mut self) -> Result<Report, Error> {
        Report::read(&mut self.reports)
            // The pipe ended without a word: somebody has killed the supervisor.
            .map_err(|_| Error::LaunchFailed {
                step: "the supervisor has ended",
                errno: Errno::EPIPE,
            })
    }

    /// What the server wrote last, after [`Report::Ended`].
    pub fn read_tail(&mut self) -> Vec<u8> {
        let mut tail = Vec::new();
        let _ = (&mut self.reports).take(supervisor::TAIL_BYTES as u64).read_to_end(&mut tail);
        tail
    }

    /// Tells the supervisor that the caller has its reply: from now on the server stays.
    pub fn confirm_delivery(self) {
        if let Err(errno) = nix::unistd::write(&self.delivery, &[supervisor::DELIVERED]) {
            log::debug!("the supervisor has ended already: {errno}");
        }
    }

    /// Lets the supervisor end the server, and waits until the server has ended.
    pub fn wait_for_undoing(self) {
        drop(self.delivery);
        let mut reports = self.reports;
        let timeout = PollTimeout::try_from(LONGEST_ENDING).unwrap_or(PollTimeout::MAX);
        let mut bytes = [0; 512];
        loop {
            let mut watched = [PollFd::new(reports.as_fd(), PollFlags::POLLIN)];
            if poll(&mut watched, timeout).is_ok_and(|ready| ready == 0) {
                return;
            }
            if !reports.read(&mut bytes).is_ok_and(|count| count > 0) {
                return;
            }
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reports.as_fd()
    }
}

/// Starts supervisor and server.
///
/// # Errors
/// [`Error::LaunchFailed`] for what fails in this process. What fails in the other two comes as a
/// report.
pub fn start(
    executable: &Executable,
    args: &[CString],
    variables: &[CString],
    unprivileged: &Unprivileged,
) -> Result<Link, Error> {
    let failed = |step| move |errno| Error::LaunchFailed { step, errno };
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
    let null = null.map_err(failed("opening /dev/null"))?;
    let own = open("/proc/self/exe", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    let own = own.map_err(failed("opening our own binary"))?;
    let (output, server_output) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?;
    let (reports, report) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?;
    let (delivered, delivery) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?;
    if let Fork::Parent(_) = system_calls::fork().map_err(failed("fork"))? {
        return Ok(Link { reports: File::from(reports), delivery });
    }
    // From here on this is the process that becomes the supervisor. It must not hold the
    // mediator's ends, or it would never see the mediator go.
    drop((reports, delivery));
    let mut report = File::from(report);
    let become_server = || match dup2_stdout(&server_output).and(dup2_stderr(&server_output)) {
        Ok(()) => executable.execute(args, variables, unprivileged),
        Err(errno) => Refusal::Execution(errno),
    };
    let errno = become_supervisor(&own, &null, &output, &mut report, &delivered, become_server);
    send(&mut report, Report::Failed(errno));
    system_calls::exit_now(1)
}

/// Forks the server, which goes on with `become_server`, and executes our own binary anew as its
/// supervisor; returns only if something of that fails, and then without a server.
///
/// Anew, since a fork would keep all that the mediator has allocated; and by descriptor, so that a
/// package that has just been replaced, or a directory that is closed to the target, does not
/// change what is executed.
fn become_supervisor(
    own: &OwnedFd,
    null: &OwnedFd,
    output: &OwnedFd,
    report: &mut File,
    delivered: &OwnedFd,
    become_server: impl FnOnce() -> Refusal,
) -> Errno {
    let prepared = setsid()
        .and_then(|_| prctl::set_child_subreaper(true))
        .and_then(|()| dup2_stdin(null))
        .and_then(|()| dup2_stdout(null))
        .and_then(|()| system_calls::fork());
    let server = match prepared {
        Ok(Fork::Parent(server)) => server,
        Ok(Fork::Child) => {
            send(report, Report::Refused(become_server()));
            system_calls::exit_now(127)
        }
        Err(errno) => return errno,
    };
    send(report, Report::Server(server));
    let executed = keep_on_exec(output)
        .and_then(|()| keep_on_exec(&*report))
        .and_then(|()| keep_on_exec(delivered))
        .and_then(|()| {
            let argv = Inherited {
                server,
                output: output.as_raw_fd(),
                report: report.as_raw_fd(),
                delivered: delivered.as_raw_fd(),
            }
            .to_argv();
            let no_variables: [&CStr; 0] = [];
            execveat(own, c"", &argv, &no_variables, AtFlags::AT_EMPTY_PATH)
        });
    let _ = kill(server, Signal::SIGKILL);
    executed.err().unwrap_or(Errno::ENOEXEC)
}

fn keep_on_exec(descriptor: impl AsFd) -> Result<(), Errno> {
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty())).map(drop)
}

/// A mediator that has died needs no report, and what is to be done then is done by the pipe
/// `delivered`.
fn send(report: &mut File, message: Report) {
    let _ = report.write_all(&message.to_bytes());
}
