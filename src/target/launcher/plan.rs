//! Everything that is decided about a server before its start.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use ground::control_group::Limit;
use ground::report::Refusal;
use ground::server_name::ServerName;
use ground::wire::Wire;
use nix::errno::Errno;
use root::foreground::BLOCK;
use root::policy::file::{Launcher, Policy};
use root::policy::systemd::expand;
use root::privileges::Unprivileged;
use root::unit_properties::{Limits, lower_limits};

use crate::environment::{Environment, UnitEdits};
use crate::error::Error;
use crate::mode::Mode;
use crate::request::{Request, Spawn};
use crate::server::Executable;

/// Everything that is decided about a server before its start.
#[derive(Debug)]
pub struct Plan {
    /// Its file.
    pub executable: Executable,
    /// Its arguments.
    pub args: Vec<CString>,
    /// Its environment.
    pub environment: Environment,
    /// Where it starts.
    pub directory: PathBuf,
    /// Which of the target's servers it is.
    pub server_name: ServerName,
    /// The limits that its unit has.
    pub limits: Vec<Limit>,
}

impl Plan {
    /// Becomes the server. Returns only on failure.
    pub fn execute(&self, wire: &mut Wire, proof: &Unprivileged) -> Refusal {
        let variables = &self.environment.variables;
        self.executable.execute(&self.args, variables, &self.directory, wire, proof)
    }

    /// For root mode: reads, as the target, the granted request that the mediator left in this file after the
    /// server's name.
    ///
    /// # Errors
    /// Those of [`Plan::make`]; [`Denial::LaunchFailed`](ground::denial::Denial::LaunchFailed) if the file
    /// does not hold the request of a spawn.
    pub fn read(file: &mut File, policy: &Policy, proof: &Unprivileged) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(BLOCK as u64))
            .and_then(|_| file.read_to_end(&mut bytes))
            .map_err(|_| Error::at("reading the request")(Errno::EIO))?;
        match Request::parse(&bytes)? {
            Request::Spawn(spawn) => Self::make(spawn, policy, Mode::Root, proof),
            _ => Err(Error::at("reading the request")(Errno::EBADMSG)),
        }
    }

    /// Makes the plan of a granted request.
    ///
    /// # Errors
    /// [`Error::ServerMissing`], [`Error::ServerUntrusted`], [`Error::ServerNotExecutable`].
    pub fn make(
        spawn: Spawn,
        policy: &Policy,
        mode: Mode,
        proof: &Unprivileged,
    ) -> Result<Self, Error> {
        let (systemd, user, server) = (&policy.systemd, &proof.target().name, spawn.server_name);
        let is_unit = policy.server.launcher == Launcher::Systemd;
        let unit = is_unit.then_some(UnitEdits { systemd, user, server: &server });
        let environment = Environment::prepare(spawn.env, &policy.environment, unit.as_ref())?;
        let chosen = systemd.working_directory.as_ref().filter(|_| is_unit);
        let directory = match chosen {
            Some(directory) => PathBuf::from(expand(&directory.0, user, &server)),
            None => proof.target().home.clone(),
        };
        Ok(Self {
            executable: Executable::find(policy, mode, proof)?,
            args: spawn.args,
            environment,
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
