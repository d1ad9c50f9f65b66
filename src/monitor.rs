//! The monitor: the part of root mode that stays root while everything else is the target already.
//!
//! It is forked after checks 1 to 4, before a byte of the request has been read. The process that reads
//! and parses the request has given up root by then, and tells the monitor no more than the decision,
//! the action and the server's name, which are checked again here. The monitor writes the audit line,
//! and for a spawn runs the hooks; then it gives up root in its turn, reads the request as the target,
//! and becomes the server's supervisor. What of this is done as the target is in `unprivileged`.

pub mod unit;
mod unprivileged;

use std::fs::File;
use std::io::Read;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode as FileMode;
use nix::unistd::{ForkResult, dup2_stderr, pipe2};

use crate::account::Caller;
use crate::audit::{self, Record};
use crate::denial::Denial;
use crate::ending::{GRACE, end_children, has_children};
use crate::hooks::{Prepared, run_hooks};
use crate::keeper;
use crate::policy::authority::Launcher;
use crate::policy::{Rules, Target};
use crate::privileges::{become_target, become_wholly_root, lift_limits};
use crate::report::{Link, Report, Wire};
use crate::server_name::ServerName;
use crate::system_calls;

/// A decision is at most this long: the longest name, two words, and two numbers.
const MAX_DECISION: u64 = 512;

/// The mediator's end of its monitor.
#[derive(Debug)]
pub struct Monitor {
    decision: File,
    request: File,
    link: Link,
}

impl Monitor {
    /// Forks the monitor for a target that was admitted.
    ///
    /// # Errors
    /// [`Denial::LaunchFailed`].
    pub fn start(
        target: &Target,
        rules: &Rules,
        caller: Caller,
        inherited_umask: FileMode,
    ) -> Result<Self, Denial> {
        let (wire, link) = Wire::open()?;
        let (decision, tell) = pipe2(OFlag::O_CLOEXEC).map_err(Denial::at("pipe"))?;
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let request = File::from(memfd_create("request", flags).map_err(Denial::at("memfd"))?);
        match system_calls::fork().map_err(Denial::at("fork"))? {
            ForkResult::Parent { .. } => Ok(Self { decision: File::from(tell), request, link }),
            ForkResult::Child => {
                drop((tell, link));
                let mut work = Work { rules, caller, inherited_umask, wire, request };
                if let Err(report) = work.wait_for_decision(File::from(decision), target.clone()) {
                    end_children(GRACE);
                    work.wire.send(&report);
                }
                system_calls::exit_now(1)
            }
        }
    }
}

/// The monitor's own state.
struct Work<'a> {
    rules: &'a Rules,
    caller: Caller,
    inherited_umask: FileMode,
    wire: Wire,
    request: File,
}

impl Work<'_> {
    /// Waits for the decision, writes it down, and acts on it; returns unless it became a supervisor.
    fn wait_for_decision(&mut self, decision: File, target: Target) -> Result<(), Report> {
        self.wire.detach()?;
        become_wholly_root().map_err(Denial::at("becoming root"))?;
        let mut text = String::new();
        // Nothing can be told of what was never decided: the mediator has died.
        let read = decision.take(MAX_DECISION).read_to_string(&mut text);
        let mut words = text.splitn(4, '\n');
        let (Ok(_), Some(action), Some(code)) = (read, words.next(), words.next()) else {
            return Ok(());
        };
        let (caller, user) = (Some(self.caller), Some(target.account().name.as_str()));
        let record = Record { caller, target: user, action: Some(action), code };
        if let Err(line) = audit::write_record("sudospawner", &record) {
            audit::write_to_stderr(&line);
        }
        if code != "ok" {
            return Ok(());
        }
        let name = ServerName::parse(words.next().unwrap_or_default().to_owned());
        let name = name.ok_or_else(|| Denial::at("the server's name")(Errno::EINVAL))?;
        match (self.rules.authority().server.launcher, action) {
            (Launcher::Process, "spawn") => self.become_supervisor(target, &name),
            (Launcher::Process, _) => Ok(()),
            (Launcher::Systemd, _) => Ok(self.attend_unit(action, &target, &name, words.next())?),
        }
    }

    /// Runs the hooks, gives up root, and becomes the server's supervisor; returns only if that fails.
    fn become_supervisor(&mut self, target: Target, name: &ServerName) -> Result<(), Report> {
        let put_limits_back = lift_limits();
        let prepared = self.prepare(target, name)?;
        put_limits_back().map_err(Denial::at("setrlimit"))?;
        let proof = become_target(prepared, self.rules.authority())?;
        Ok(self.start_server(&proof)?)
    }

    /// Runs the hooks. Where they left a process, this one stays as its keeper, and the work goes on
    /// in a child.
    fn prepare(&mut self, target: Target, name: &ServerName) -> Result<Prepared, Denial> {
        let report = |result| self.wire.send(&Report::Hook(result));
        let prepared = run_hooks(target, &self.rules.authority().hooks, name, report)?;
        if self.wire.is_abandoned() {
            return Err(Denial::CallerGone);
        }
        if has_children() {
            match system_calls::fork().map_err(Denial::at("fork"))? {
                ForkResult::Parent { child: supervisor } => {
                    // The Hub's log is not a keeper's.
                    let _ = dup2_stderr(std::io::stdin());
                    system_calls::execute_anew(&keeper::to_argv(supervisor));
                    // What the hooks left is ended here, and with it the server's child, since nobody
                    // would do it later.
                    end_children(GRACE);
                    system_calls::exit_now(1)
                }
                // A session of its own, so that nothing that is sent to the keeper's reaches it.
                ForkResult::Child => self.wire.detach()?,
            }
        }
        Ok(prepared)
    }
}
