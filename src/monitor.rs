//! The monitor: the part of root mode that stays root while everything else is the target already.
//!
//! It is forked after checks 1 to 4, before a byte of the request has been read. The process that reads
//! and parses the request has given up root by then, and tells the monitor no more than the decision,
//! the action and the server's name, which are checked again here. The monitor writes the audit line,
//! and for a spawn runs the hooks; then it gives up root in its turn, reads the request as the target,
//! and becomes the server's supervisor.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode as FileMode;
use nix::unistd::{dup2_stderr, pipe2};

use crate::account::Caller;
use crate::audit::{self, Record};
use crate::ending::{GRACE, end_children, has_children};
use crate::error::Error;
use crate::hooks::{Prepared, run_hooks};
use crate::keeper;
use crate::launcher::{Plan, process};
use crate::policy::Target;
use crate::policy::file::Policy;
use crate::privileges::{LiftedLimits, become_target, become_wholly_root};
use crate::report::{Link, Report, Wire};
use crate::server_name::ServerName;
use crate::system_calls::{self, Fork};

/// A decision is at most this long: the longest name, and two words.
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
    /// [`Error::LaunchFailed`].
    pub fn start(
        target: &Target,
        policy: &Policy,
        caller: Caller,
        inherited_umask: FileMode,
    ) -> Result<Self, Error> {
        let (wire, link) = Wire::open()?;
        let (decision, tell) = pipe2(OFlag::O_CLOEXEC).map_err(Error::at("pipe"))?;
        let request = memfd_create("request", MFdFlags::MFD_CLOEXEC).map_err(Error::at("memfd"))?;
        let request = File::from(request);
        match system_calls::fork().map_err(Error::at("fork"))? {
            Fork::Parent(_) => Ok(Self { decision: File::from(tell), request, link }),
            Fork::Child => {
                drop((tell, link));
                let mut work = Work { policy, caller, inherited_umask, wire, request };
                if let Err(error) = work.wait_for_decision(File::from(decision), target.clone()) {
                    end_children(GRACE);
                    work.wire.send(&Report::Failed(error.into()));
                }
                system_calls::exit_now(1)
            }
        }
    }

    /// Has the decision written to the authentication log by root, and no more.
    pub fn tell(mut self, action: &str, code: &str) {
        let _ = self.decision.write_all(format!("{action}\n{code}\n").as_bytes());
    }

    /// Has the server started: `request` is what was parsed and granted.
    ///
    /// # Errors
    /// [`Error::LaunchFailed`].
    pub fn spawn(mut self, request: &[u8], server_name: &ServerName) -> Result<Link, Error> {
        let order = format!("spawn\nok\n{}", server_name.as_str());
        self.request
            .write_all_at(request, 0)
            .and_then(|()| self.decision.write_all(order.as_bytes()))
            .map_err(|error| {
                let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
                Error::at("telling the monitor")(errno)
            })?;
        Ok(self.link)
    }
}

/// The monitor's own state.
struct Work<'a> {
    policy: &'a Policy,
    caller: Caller,
    inherited_umask: FileMode,
    wire: Wire,
    request: File,
}

impl Work<'_> {
    /// Waits for the decision, writes it down, and acts on it; returns unless it became a supervisor.
    fn wait_for_decision(&mut self, decision: File, target: Target) -> Result<(), Error> {
        self.wire.detach()?;
        become_wholly_root().map_err(Error::at("becoming root"))?;
        let mut text = String::new();
        // Nothing can be told of what was never decided: the mediator has died.
        let read = decision.take(MAX_DECISION).read_to_string(&mut text);
        let mut words = text.splitn(3, '\n');
        let (Ok(_), Some(action), Some(code)) = (read, words.next(), words.next()) else {
            return Ok(());
        };
        audit::write_record(&Record {
            caller: Some(self.caller),
            target: Some(&target.account().name),
            action: Some(action),
            code,
        });
        if (action, code) != ("spawn", "ok") {
            return Ok(());
        }
        let server_name = ServerName::parse(words.next().unwrap_or_default().to_owned())?;
        let limits = LiftedLimits::lift();
        let prepared = self.prepare(target, &server_name)?;
        limits.put_back().map_err(Error::at("setrlimit"))?;
        let proof = become_target(prepared, self.policy)?;
        let plan = Plan::read(&mut self.request, self.policy, &proof)?;
        let umask = self.inherited_umask;
        Err(process::become_supervisor(&mut self.wire, &plan, self.policy, umask, &proof))
    }

    /// Runs the hooks. Where they left a process, this one stays as its keeper, and the work goes on
    /// in a child.
    fn prepare(&mut self, target: Target, server_name: &ServerName) -> Result<Prepared, Error> {
        let report = |result| self.wire.send(&Report::Hook(result));
        let prepared = run_hooks(target, &self.policy.hooks, server_name, report)?;
        if self.wire.is_abandoned() {
            return Err(Error::CallerGone);
        }
        if has_children() {
            match system_calls::fork().map_err(Error::at("fork"))? {
                Fork::Parent(supervisor) => {
                    // The Hub's log is not a keeper's.
                    let _ = dup2_stderr(std::io::stdin());
                    system_calls::execute_anew(&keeper::to_argv(supervisor));
                    // What the hooks left is ended here, and with it the server's child, since nobody
                    // would do it later.
                    end_children(GRACE);
                    system_calls::exit_now(1)
                }
                // A session of its own, so that nothing that is sent to the keeper's reaches it.
                Fork::Child => self.wire.detach()?,
            }
        }
        Ok(prepared)
    }
}
