//! What is done as the target: the mediator's orders to its monitor, and the monitor's last step.

use std::io::Write;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use super::{Monitor, Work};
use crate::error::Error;
use crate::foreground::{BLOCK, SEALS, name_to_block};
use crate::launcher::{Plan, process};
use crate::privileges::Unprivileged;
use crate::report::{Link, Report};
use crate::request::Limits;
use crate::server_name::ServerName;

impl Monitor {
    /// Has the decision written to the authentication log by root, and no more.
    pub fn tell(mut self, action: &str, code: &str) {
        let _ = self.decision.write_all(format!("{action}\n{code}\n").as_bytes());
    }

    /// Has the server started: `request` is what was parsed and granted.
    ///
    /// # Errors
    /// [`Denial::LaunchFailed`](crate::denial::Denial::LaunchFailed).
    pub fn spawn(self, request: &[u8], name: &ServerName, limits: Limits) -> Result<Link, Error> {
        match self.leave_request(request, name) {
            Ok(()) => self.attend("spawn", name, limits),
            Err(error) => {
                self.tell("spawn", error.code());
                Err(error)
            }
        }
    }

    fn leave_request(&self, request: &[u8], name: &ServerName) -> Result<(), Error> {
        self.request
            .write_all_at(&name_to_block(name), 0)
            .and_then(|()| self.request.write_all_at(request, BLOCK as u64))
            .map_err(|error| Error::at("writing the request")(to_errno(&error)))?;
        fcntl(&self.request, FcntlArg::F_ADD_SEALS(SEALS)).map(drop).map_err(Error::at("sealing"))
    }

    /// Has the decision written down, and the monitor stay at hand for the server's unit.
    ///
    /// # Errors
    /// [`Denial::LaunchFailed`](crate::denial::Denial::LaunchFailed).
    pub fn attend(
        mut self,
        action: &str,
        name: &ServerName,
        limits: Limits,
    ) -> Result<Link, Error> {
        let to_text = |limit: Option<String>| limit.unwrap_or_default();
        let memory = to_text(limits.memory.map(|bytes| bytes.to_string()));
        let cpus = to_text(limits.cpus.map(|cpus| cpus.to_string()));
        let order = format!("{action}\nok\n{}\n{memory}\n{cpus}", name.as_str());
        self.decision
            .write_all(order.as_bytes())
            .map_err(|error| Error::at("telling the monitor")(to_errno(&error)))?;
        Ok(self.link)
    }
}

fn to_errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

impl From<Error> for Report {
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(denial) => Self::Denied(denial),
            error => Self::Failed(error.into()),
        }
    }
}

impl Work<'_> {
    /// Reads the rest of the policy and the request, starts the server, and becomes its supervisor; returns only
    /// if that fails, with the reason.
    pub(super) fn start_server(&mut self, proof: &Unprivileged) -> Report {
        let plan = self.rules.read_policy().map_err(Error::from).and_then(|policy| {
            Plan::read(&mut self.request, &policy, proof).map(|plan| (plan, policy))
        });
        match plan {
            Ok((plan, policy)) => {
                let (wire, umask) = (&mut self.wire, self.inherited_umask);
                // No denial, which nobody believes once there is a server.
                let error = process::become_supervisor(wire, &plan, &policy, umask, proof);
                Report::Failed(error.into())
            }
            Err(error) => error.into(),
        }
    }
}
