//! What is done as the target: the mediator's orders to its monitor, and the monitor's last step.

use std::io::Write;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;

use super::{Monitor, Work};
use crate::error::Error;
use crate::launcher::{Plan, process};
use crate::privileges::Unprivileged;
use crate::report::Link;
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
