//! Whether a request is granted, to a process that can do no more than its target.

use std::fmt::Display;

use super::file::{Launcher, Policy};
use super::reading::malformed;
use super::units::Bytes;
use super::{Mode, Rules};
use crate::denial::Denial;
use crate::error::Error;
use crate::privileges::Unprivileged;
use crate::request::{Limits, Request};
use crate::server_name::ServerName;
use crate::unit_name::UnitName;

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
    /// [`Error::LimitNotEnforceable`], [`Error::LimitExceedsPolicy`] and [`Error::UnitNotPermitted`].
    pub fn grant(self, unprivileged: Unprivileged, request: &Request) -> Result<Grant, Error> {
        let grant = Grant { unprivileged, policy: self };
        match (request, grant.name_unit(request.server_name())?) {
            (Request::Spawn(spawn), Some(_)) => grant.check_ceilings(spawn.limits)?,
            (Request::Spawn(spawn), None) => grant.refuse_limits(spawn.limits)?,
            (_, Some(own)) => match request.unit() {
                Some(unit) if unit != own.as_str() => {
                    let own = own.as_str().to_owned();
                    return Err(Error::UnitNotPermitted { unit: unit.to_owned(), own });
                }
                _ => {}
            },
            (_, None) => {}
        }
        Ok(grant)
    }
}

impl Grant {
    /// The unit of one of the target's servers; `None` where servers do not live in units.
    ///
    /// # Errors
    /// [`Error::ServerNameTooLong`].
    pub fn name_unit(&self, server_name: &ServerName) -> Result<Option<UnitName>, Error> {
        match (self.unprivileged.mode(), self.policy.server.launcher) {
            (Mode::Root, Launcher::Systemd) => {
                let user = &self.unprivileged.target().name;
                self.policy.systemd.unit_name.name_unit(user, server_name).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn check_ceilings(&self, asked: Limits) -> Result<(), Error> {
        let exceeds = |limit: &'static str, asked: &dyn Display, ceiling: &dyn Display| {
            let (asked, ceiling) = (asked.to_string(), ceiling.to_string());
            Err(Error::LimitExceedsPolicy { limit, asked, ceiling })
        };
        let ceiling = &self.policy.limits;
        match (asked.memory, ceiling.memory) {
            (Some(asked), Some(Bytes(most))) if asked > most => {
                return exceeds("memory", &asked, &most);
            }
            _ => {}
        }
        match (asked.cpus, ceiling.cpus) {
            (Some(asked), Some(most)) if asked > most => exceeds("cpus", &asked, &most),
            _ => Ok(()),
        }
    }

    fn refuse_limits(&self, asked: Limits) -> Result<(), Error> {
        let asked = asked.memory.map(|_| "memory").or(asked.cpus.map(|_| "cpus"));
        let limit = match self.unprivileged.mode() {
            Mode::Root => self.policy.limits.of_the_whole_server().or(asked),
            Mode::User => asked,
        };
        limit.map_or(Ok(()), |limit| Err(Error::LimitNotEnforceable { limit }))
    }
}
