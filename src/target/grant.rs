//! Decides whether a request is granted, in a process that can do no more than its target.

use std::fmt::Display;

use ground::denial::Denial;
use ground::server_name::ServerName;
use ground::unit_name::UnitName;
use root::policy::file::{Launcher, Policy};
use root::policy::units::Bytes;
use root::privileges::Unprivileged;
use root::unit_properties::Limits;

use crate::error::Error;
use crate::mode::Mode;
use crate::request::Request;

/// A granted request, in a process that can do no more than its target. Only [`Grant::decide`] makes one.
#[derive(Debug)]
#[must_use]
pub struct Grant {
    unprivileged: Unprivileged,
    mode: Mode,
    policy: Policy,
}

impl Grant {
    /// Check 5, the part where the policy restricts a request that is within its bounds.
    ///
    /// # Errors
    /// [`Error::LimitNotEnforceable`], [`Error::LimitExceedsPolicy`], [`Error::UnitNotPermitted`] and
    /// [`Denial::ServerNameTooLong`].
    pub fn decide(
        policy: Policy,
        mode: Mode,
        unprivileged: Unprivileged,
        request: &Request,
    ) -> Result<Self, Error> {
        let grant = Self { unprivileged, mode, policy };
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

    /// The proof that we are the target.
    pub fn unprivileged(&self) -> &Unprivileged {
        &self.unprivileged
    }

    /// How we were called.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The policy that the request was granted under.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl Grant {
    /// The unit of one of the target's servers; `None` if servers do not run in units.
    ///
    /// # Errors
    /// [`Denial::ServerNameTooLong`].
    pub fn name_unit(&self, server_name: &ServerName) -> Result<Option<UnitName>, Denial> {
        if self.policy.server.launcher != Launcher::Systemd {
            return Ok(None);
        }
        let user = &self.unprivileged.target().name;
        self.policy.systemd.unit_name.name_unit(user, server_name).map(Some)
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
        let limits = &self.policy.limits;
        let limit = limits.memory.map(|_| "memory").or(limits.cpus.map(|_| "cpus"));
        let limit = limit.or(limits.tasks.map(|_| "tasks")).or(asked);
        limit.map_or(Ok(()), |limit| Err(Error::LimitNotEnforceable { limit }))
    }
}
