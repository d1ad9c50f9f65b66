//! The process launcher: runs supervisor and server as processes beside the mediator.
//!
//! ```text
//! child (of the mediator, or of the monitor), as the target
//!   ├── fork ── server: home, exec
//!   └─ executes this binary anew as the supervisor
//! ```
//!
//! The server is forked before the supervisor executes anew. So the request's arguments and environment reach
//! the server only in memory, and the supervisor keeps nothing of them.

use std::convert::Infallible;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode as FileMode, umask};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdout, getppid, pipe2, read};

use super::plan::Plan;
use crate::error::Error;
use crate::lowered::report_lowered_limits;
use crate::mode::Mode;
use crate::supervisor::inherited::{Inherited, LogPlace};
use ground::report::Report;
use ground::system_calls;
use ground::units::Umask;
use ground::wire::{Link, Wire};
use root::policy::file::Policy;
use root::privileges::Unprivileged;

/// Starts supervisor and server from this process, which is already the target.
///
/// # Errors
/// [`Denial::LaunchFailed`](ground::denial::Denial::LaunchFailed) if something fails in this process. A
/// failure in the others comes as a report.
pub fn start(
    plan: &Plan,
    policy: &Policy,
    inherited_umask: FileMode,
    proof: &Unprivileged,
) -> Result<Link, Error> {
    let (mut wire, link) = Wire::open()?;
    match system_calls::fork().map_err(Error::at("fork"))? {
        ForkResult::Parent { .. } => Ok(link),
        ForkResult::Child => {
            // If the mediator's ends stayed open here, this process would never see the mediator go.
            drop(link);
            let Err(error) = wire.detach().map_err(Error::from).and_then(|()| {
                become_supervisor(&mut wire, plan, Mode::User, policy, inherited_umask, proof)
            });
            wire.send(&Report::Failed(error.into()));
            system_calls::exit_now(1)
        }
    }
}

/// Continues in a child of the monitor after root is given up: reads the request and does the same. Returns
/// only on failure, with the reason.
pub fn become_supervisor_of(
    wire: &mut Wire,
    request: &mut File,
    session: Option<&mut File>,
    policy: &Policy,
    inherited_umask: FileMode,
    proof: &Unprivileged,
) -> Report {
    let Err(error) = Plan::read(request, session, policy, proof).and_then(|plan| {
        become_supervisor(wire, &plan, Mode::Root, policy, inherited_umask, proof)
    });
    // Not as a denial: the mediator ignores denials once there is a server.
    Report::Failed(error.into())
}

/// Forks the server and becomes its supervisor. Returns only on failure, without a server.
fn become_supervisor(
    wire: &mut Wire,
    plan: &Plan,
    mode: Mode,
    policy: &Policy,
    inherited_umask: FileMode,
    proof: &Unprivileged,
) -> Result<Infallible, Error> {
    report_lowered_limits(policy, wire, proof);
    let wanted = policy.server.umask.map(|Umask(bits)| FileMode::from_bits_truncate(bits));
    umask(wanted.unwrap_or(inherited_umask));
    let (output, server_output) = pipe2(OFlag::O_CLOEXEC).map_err(Error::at("pipe"))?;
    let (executed, executing) = pipe2(OFlag::O_CLOEXEC).map_err(Error::at("pipe"))?;
    let supervisor = Pid::this();
    let server = match system_calls::fork().map_err(Error::at("fork"))? {
        ForkResult::Parent { child: server } => server,
        ForkResult::Child => {
            drop(executing);
            // The pipe ends when the supervisor is executed, or when it is killed before that. In the latter
            // case nobody would end a server that nobody wants.
            let _ = read(&executed, &mut [0]);
            if getppid() != supervisor {
                system_calls::exit_now(1);
            }
            // First: what waits for a file server may stay, and must not hold the Hub's log.
            let Err(error) = dup2_stdout(&server_output)
                .and(dup2_stderr(&server_output))
                .map_err(Error::at("dup2"))
                .and_then(|()| plan.execute(policy, mode, || Ok(()), wire, proof));
            wire.send(&Report::Failed(error.into()));
            system_calls::exit_now(127)
        }
    };
    wire.send(&Report::Server(server.as_raw()));
    let inherited = Inherited {
        server,
        output: output.as_raw_fd(),
        report: wire.reports.as_raw_fd(),
        delivered: wire.delivered.as_raw_fd(),
        leftovers: policy.server.leftovers,
        log: LogPlace::choose(policy.server.log, proof, &plan.server_name),
    };
    let kept = [output.as_fd(), wire.reports.as_fd(), wire.delivered.as_fd()];
    let kept: Vec<_> = kept.into_iter().chain(wire.held.iter().map(AsFd::as_fd)).collect();
    let errno = system_calls::execute_anew(&inherited.to_argv(), &kept);
    let _ = kill(server, Signal::SIGKILL);
    Err(Error::at("the supervisor")(errno))
}
