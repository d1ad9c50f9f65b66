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
        self.request
            .write_all_at(&name_to_block(name), 0)
            .and_then(|()| self.request.write_all_at(request, BLOCK as u64))
            .map_err(|error| Error::at("writing the request")(to_errno(&error)))?;
        fcntl(&self.request, FcntlArg::F_ADD_SEALS(SEALS)).map_err(Error::at("sealing"))?;
        self.attend("spawn", name, limits)
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
    /// Reads the rest of the policy and the request, starts the server, and becomes its supervisor;
    /// returns only if that fails.
    ///
    /// # Errors
    /// [`crate::denial::Denial::PolicyMalformed`], and as [`Plan::read`] and
    /// [`process::become_supervisor`].
    pub(super) fn start_server(&mut self, proof: &Unprivileged) -> Result<(), Error> {
        let policy = self.rules.read_policy()?;
        let plan = Plan::read(&mut self.request, &policy, proof)?;
        let umask = self.inherited_umask;
        Err(process::become_supervisor(&mut self.wire, &plan, &policy, umask, proof))
    }
}
