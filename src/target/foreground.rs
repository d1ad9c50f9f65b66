//! The first process of a server's unit after root has been given up: it reads the request and becomes the
//! server.

use std::convert::Infallible;
use std::process::ExitCode;

use ground::denial::Denial;
use ground::report::Report;
use ground::units::Umask;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode as FileMode, umask};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout};
use root::policy::file::Policy;
use root::privileges::Unprivileged;
use root::session::Begun;

use crate::error::Error;
use crate::launcher::plan::Plan;
use crate::lowered::report_lowered_limits;
use crate::mode::Mode;
use crate::supervisor::inherited::LogPlace;
use crate::supervisor::log_file::LogFile;

/// Becomes the server. Returns only on failure, after telling the mediator why.
pub fn become_server(mut begun: Begun) -> ExitCode {
    let Err(error) = execute_server(&mut begun);
    log::error!("{error}");
    begun.wire.send(&error.into());
    ExitCode::FAILURE
}

fn execute_server(begun: &mut Begun) -> Result<Infallible, Error> {
    let Begun { proof, policy, request, variables, wire } = begun;
    let plan = Plan::read(request, variables.as_mut(), policy, proof)?;
    report_lowered_limits(policy, wire, proof);
    if let Some(limit) = plan.limits.iter().find(|limit| !limit.holds_here()) {
        return Err(Denial::LimitNotHeld { limit: limit.key() }.into());
    }
    // Before the log is opened: the mediator has to know whose home does not answer.
    wire.send(&Report::Server(Pid::this().as_raw()));
    plan.execute(policy, Mode::Root, || settle(policy, &plan, proof), wire, proof)
}

/// Sets up the server's surroundings: its umask, no stdin, and its log.
fn settle(policy: &Policy, plan: &Plan, proof: &Unprivileged) -> Result<(), Errno> {
    if let Some(Umask(bits)) = policy.server.umask {
        umask(FileMode::from_bits_truncate(bits));
    }
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, FileMode::empty())?;
    dup2_stdin(&null)?;
    if let LogPlace::File(path) = LogPlace::choose(policy.server.log, proof, &plan.server_name) {
        match LogFile::open(path.clone()).and_then(LogFile::into_file) {
            Ok(file) => {
                dup2_stdout(&file)?;
                dup2_stderr(&file)?;
            }
            Err(error) => {
                log::warn!("{} cannot be the log, the journal is: {error}", path.display());
            }
        }
    }
    Ok(())
}
