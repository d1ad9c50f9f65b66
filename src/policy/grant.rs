//! Whether a request is granted, to a process that can do no more than its target.

use super::file::{Launcher, Policy};
use super::reading::malformed;
use super::{Mode, Rules};
use crate::denial::Denial;
use crate::error::Error;
use crate::privileges::Unprivileged;
use crate::request::Request;

/// A request that was granted, to a process that can do no more than its target. Only
/// [`Policy::grant`] makes one.
#[derive(Debug)]
#[must_use]
pub struct Grant {
    unprivileged: Unprivileged,
    policy: Policy,
}

impl Grant {
    /// The proof that we are the target.
    pub fn unprivileged(&self) -> &Unprivileged {
        &self.unprivileged
    }

    /// The policy under which it was granted.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl Rules {
    /// Reads all of the policy, of which root has read its part.
    ///
    /// # Errors
    /// [`Denial::PolicyMalformed`].
    pub fn read_policy(&self) -> Result<Policy, Denial> {
        Policy::parse(&self.text).map_err(malformed)
    }
}

impl Policy {
    /// Check 5, of what the policy has to say about a request that is within its bounds.
    ///
    /// # Errors
    /// [`Error::LauncherUnavailable`] and [`Error::LimitNotEnforceable`].
    pub fn grant(self, unprivileged: Unprivileged, request: &Request) -> Result<Grant, Error> {
        if unprivileged.mode() == Mode::Root && matches!(request, Request::Spawn(_)) {
            if self.server.launcher == Launcher::Systemd {
                let reason = "this build has no launcher for units";
                return Err(Error::LauncherUnavailable(reason.to_owned()));
            }
            if let Some(limit) = self.limits.of_the_whole_server() {
                return Err(Error::LimitNotEnforceable { limit });
            }
        }
        Ok(Grant { unprivileged, policy: self })
    }
}
