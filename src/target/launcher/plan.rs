//! What a request and the policy decide about a server before its start.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::path::PathBuf;

use ground::control_group::Limit;
use ground::placeholders::expand;
use ground::report::Report;
use ground::server_name::ServerName;
use ground::wire::Wire;
use nix::errno::Errno;
use root::policy::file::{Launcher, Policy};
use root::privileges::Unprivileged;
use root::unit_properties::{Limits, lower_limits};

use crate::decision::take_request;
use crate::environment::{Environment, UnitEdits, add_variables};
use crate::error::Error;
use crate::files::{Folder, fill_arguments, fill_variables};
use crate::grant::{Grant, Whom};
use crate::mode::Mode;
use crate::request::files::Files;
use crate::request::{Request, Spawn};
use crate::server::Executable;

/// What a request and the policy decide about a server before its start.
#[derive(Debug)]
pub struct Plan {
    /// Its arguments.
    pub args: Vec<CString>,
    /// Its environment.
    pub environment: Environment,
    /// What it gets as files.
    pub files: Files,
    /// Where it starts.
    pub directory: PathBuf,
    /// Which of the target's servers it is.
    pub server_name: ServerName,
    /// The limits that its unit has.
    pub limits: Vec<Limit>,
}

impl Plan {
    /// Becomes the server. Returns only on failure. Whatever here waits for a file server, waits in a process that
    /// the mediator can give up. `settle` prepares the rest of the server's surroundings.
    ///
    /// # Errors
    /// Those of [`Executable::find`], `settle`, [`Folder::write`] and [`Executable::execute`].
    pub fn execute(
        &self,
        policy: &Policy,
        mode: Mode,
        settle: impl FnOnce() -> Result<(), Errno>,
        wire: &mut Wire,
        proof: &Unprivileged,
    ) -> Result<Infallible, Error> {
        let executable = Executable::find(policy, mode, proof)?;
        wire.send(&Report::Found);
        settle().map_err(Error::at("the server's surroundings"))?;
        // It stays open, and so locked, until the server is executed.
        let folder = Folder::write(&self.files, proof)?;
        let path = folder.as_ref().map(Folder::path);
        let args = fill_arguments(&self.args, path);
        let variables = fill_variables(&self.environment.variables, path);
        executable.execute(&args, &variables, &self.directory, wire, proof)
    }

    /// For root mode: reads the request of a spawn as the target, decides on it again, and makes its plan. `session`
    /// holds the variables that PAM has set.
    ///
    /// # Errors
    /// Those of [`Grant::decide`]; [`Denial::LaunchFailed`](ground::denial::Denial::LaunchFailed) if the file
    /// does not hold the request of a spawn.
    pub fn read(
        file: &mut File,
        session: Option<&mut File>,
        policy: &Policy,
        proof: &Unprivileged,
    ) -> Result<Self, Error> {
        let (request, whom) = (take_request(file)?, Whom::from(proof));
        let grant = Grant::decide(policy, &whom, &request)?;
        match request {
            Request::Spawn(mut spawn) => {
                if let Some(session) = session {
                    add_variables(&mut spawn.env, session);
                }
                Self::make(spawn, grant)
            }
            _ => Err(Error::at("reading the request")(Errno::EBADMSG)),
        }
    }

    /// Makes the plan of a granted request.
    ///
    /// # Errors
    /// [`Error::MalformedRequest`].
    pub fn make(spawn: Spawn, grant: Grant<'_>) -> Result<Self, Error> {
        let (policy, whom, server) = (grant.policy(), grant.whom(), spawn.server_name);
        let (systemd, user) = (&policy.systemd, &whom.name);
        let is_unit = policy.server.launcher == Launcher::Systemd;
        let unit = is_unit.then_some(UnitEdits { systemd, user, server: &server });
        let environment =
            Environment::prepare(spawn.env, &policy.environment, Some(whom), unit.as_ref())?;
        let chosen = systemd.working_directory.as_ref().filter(|_| is_unit);
        let directory = match chosen {
            Some(directory) => PathBuf::from(expand(&directory.0, user, &server)),
            None => whom.home.clone(),
        };
        Ok(Self {
            args: spawn.args,
            environment,
            files: spawn.files,
            directory,
            limits: if is_unit { list_limits(policy, spawn.limits) } else { Vec::new() },
            server_name: server,
        })
    }
}

/// The limits that a server's unit gets: the policy's, those that are asked for, and root's own properties.
fn list_limits(policy: &Policy, asked: Limits) -> Vec<Limit> {
    let Limits { memory, cpus } = lower_limits(policy, asked);
    let is_set = |limit: &Limit| {
        let mut own = policy.systemd.properties.iter();
        let has_number = match limit {
            Limit::Memory => memory.is_some(),
            Limit::Cpus => cpus.is_some(),
            Limit::Tasks => policy.limits.tasks.is_some(),
        };
        has_number || own.any(|(name, value)| name == limit.property() && value != "infinity")
    };
    Limit::ALL.into_iter().filter(is_set).collect()
}
