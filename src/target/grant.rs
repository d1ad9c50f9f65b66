//! Decides whether a request is granted, in a process that is not root: nobody, and again each one that acts
//! on the request as the target.

use std::fmt::Display;
use std::path::PathBuf;

use ground::denial::Denial;
use ground::server_name::ServerName;
use ground::unit_name::UnitName;
use ground::units::Bytes;
use nix::unistd::Uid;
use root::policy::file::{Launcher, Policy};
use root::privileges::Unprivileged;
use root::unit_properties::Limits;

use crate::error::Error;
use crate::request::{Request, Spawn, Wait};

/// What is known of a target in a process that may not be the target.
#[derive(Debug, Clone)]
pub struct Whom {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: Uid,
    /// Its home directory, which may not exist.
    pub home: PathBuf,
    /// Its login shell; empty where only root knows it.
    pub shell: PathBuf,
}

impl From<&Unprivileged> for Whom {
    fn from(proof: &Unprivileged) -> Self {
        let account = proof.target();
        let (home, shell) = (account.home.clone(), account.shell.clone());
        Self { name: account.name.clone(), uid: account.uid, home, shell }
    }
}

/// The grant of a request for a target. Only [`Grant::decide`] makes one.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Grant<'a> {
    policy: &'a Policy,
    whom: &'a Whom,
}

impl<'a> Grant<'a> {
    /// Check 5, the part where the policy restricts a request that is within its bounds.
    ///
    /// # Errors
    /// [`Error::LimitNotEnforceable`], [`Error::LimitExceedsPolicy`], [`Error::UnitNotPermitted`] and
    /// [`Denial::ServerNameTooLong`].
    pub fn decide(policy: &'a Policy, whom: &'a Whom, request: &Request) -> Result<Self, Error> {
        let grant = Self { policy, whom };
        match (request, grant.name_unit(request.server_name())?) {
            (Request::Spawn(spawn), _) if grant.is_for_job() => grant.check_job(spawn)?,
            (Request::Spawn(spawn), unit) => {
                refuse_fields_of_jobs(spawn)?;
                match unit {
                    Some(_) => grant.check_ceilings(spawn.limits)?,
                    None => grant.refuse_limits(spawn.limits)?,
                }
            }
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

    /// Whether a spawn is to be a job.
    #[must_use]
    pub fn is_for_job(&self) -> bool {
        self.policy.server.launcher == Launcher::Slurm
    }

    /// What `[slurm]` says of it is decided as the target, by a program of its own.
    fn check_job(&self, spawn: &Spawn) -> Result<(), Error> {
        let wrong = |sentence: &str| Error::MalformedRequest(sentence.to_owned());
        let wait = spawn.wait.as_ref();
        let wait =
            wait.ok_or_else(|| wrong("the field \"wait\" is needed for a server in a job"))?;
        if wait.port.is_some() {
            return Err(wrong("for a server in a job, the node chooses the port of \"wait\""));
        }
        // A profile has its own.
        self.refuse_limits(Limits::default())
    }

    /// The policy that the request was granted under.
    #[must_use]
    pub fn policy(&self) -> &'a Policy {
        self.policy
    }

    /// Whom it is for.
    #[must_use]
    pub fn whom(&self) -> &'a Whom {
        self.whom
    }

    /// The unit of one of the target's servers; `None` if servers do not run in units.
    ///
    /// # Errors
    /// [`Denial::ServerNameTooLong`].
    pub fn name_unit(&self, server_name: &ServerName) -> Result<Option<UnitName>, Denial> {
        if self.policy.server.launcher != Launcher::Systemd {
            return Ok(None);
        }
        self.policy.systemd.unit_name.name_unit(&self.whom.name, server_name).map(Some)
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

/// Where no node chooses the port, the caller does, and there are no profiles.
fn refuse_fields_of_jobs(spawn: &Spawn) -> Result<(), Error> {
    let wrong = |sentence: &str| Err(Error::MalformedRequest(sentence.to_owned()));
    if spawn.profile.is_some() {
        return wrong("the field \"profile\" is for servers in jobs (server.launcher = \"slurm\")");
    }
    match spawn.wait {
        Some(Wait { port: None, .. }) => wrong("the field \"port\" is missing in \"wait\""),
        _ => Ok(()),
    }
}
