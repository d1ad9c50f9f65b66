//! Starts a server and stays until it is up, has failed, or nobody waits for it any more.
//!
//! This, as all that follows the reading of the request, is done as the target. What root has to do
//! for a server is done by the [`crate::monitor`], which was forked before.

pub mod link;
pub mod listener;
pub mod process;
pub mod unit;
pub mod watch;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use nix::errno::Errno;

use crate::environment::{Environment, UnitEdits};
use crate::error::Error;
use crate::foreground::BLOCK;
use crate::hooks::HookResult;
use crate::policy::Mode;
use crate::policy::file::{Launcher, Policy};
use crate::policy::grant::Grant;
use crate::policy::systemd::expand;
use crate::privileges::Unprivileged;
use crate::reply::{Reply, Spawned};
use crate::request::{Request, Spawn};
use crate::server::{Executable, Refusal};
use crate::server_name::ServerName;
use crate::unit_properties::lower_limits;
use link::Link;
use watch::{Place, Watch};

/// Everything that is decided about a server before it is started.
#[derive(Debug)]
pub struct Plan {
    /// Its file.
    pub executable: Executable,
    /// Its arguments.
    pub args: Vec<std::ffi::CString>,
    /// Its environment.
    pub environment: Environment,
    /// Where it starts.
    pub directory: PathBuf,
    /// Which of the target's servers it is.
    pub server_name: ServerName,
}

impl Plan {
    /// Becomes the server; returns only if that is refused.
    pub fn execute(&self, proof: &Unprivileged) -> Refusal {
        let variables = &self.environment.variables;
        self.executable.execute(&self.args, variables, &self.directory, proof)
    }

    /// Reads the request that the mediator has granted and left in this file behind the server's name, as
    /// the target.
    ///
    /// # Errors
    /// As [`Plan::make`]; [`Denial::LaunchFailed`](crate::denial::Denial::LaunchFailed) if the file does
    /// not hold the request of a spawn.
    pub fn read(file: &mut File, policy: &Policy, proof: &Unprivileged) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(BLOCK as u64))
            .and_then(|_| file.read_to_end(&mut bytes))
            .map_err(|_| Error::at("reading the request")(Errno::EIO))?;
        match Request::parse(&bytes)? {
            Request::Spawn(spawn) => Self::make(spawn, policy, proof),
            _ => Err(Error::at("reading the request")(Errno::EBADMSG)),
        }
    }

    /// Makes the plan of a request that was granted.
    ///
    /// # Errors
    /// [`Error::ServerMissing`], [`Error::ServerUntrusted`], [`Error::ServerNotExecutable`].
    pub fn make(spawn: Spawn, policy: &Policy, proof: &Unprivileged) -> Result<Self, Error> {
        let (systemd, user, server) = (&policy.systemd, &proof.target().name, spawn.server_name);
        let is_unit = policy.server.launcher == Launcher::Systemd && proof.mode() == Mode::Root;
        let unit = is_unit.then_some(UnitEdits { systemd, user, server: &server });
        let environment = Environment::prepare(spawn.env, &policy.environment, unit.as_ref())?;
        let chosen = systemd.working_directory.as_ref().filter(|_| is_unit);
        let directory = match chosen {
            Some(directory) => PathBuf::from(expand(&directory.0, user, &server)),
            None => proof.target().home.clone(),
        };
        Ok(Self {
            executable: Executable::find(policy, proof)?,
            args: spawn.args,
            environment,
            directory,
            server_name: server,
        })
    }
}

/// A server that was started, until its caller has been told: dropped before
/// [`Launched::deliver`], the server is ended.
#[derive(Debug)]
#[must_use]
pub struct Launched {
    link: Link,
    reply: Reply,
}

impl Launched {
    /// Writes the reply. Only then the server is the caller's; if it cannot be written, the server
    /// ends.
    pub fn deliver(self) {
        match self.reply.write() {
            Ok(()) => self.link.confirm_delivery(),
            Err(error) => log::warn!("the reply was not read ({error}), so the server is ended"),
        }
    }
}

/// Why a server was not started, and what became of the hooks until then.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub error: Error,
    /// The hooks that have run.
    pub hooks: Vec<HookResult>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, hooks: Vec::new() }
    }
}

/// Starts the server of a grant, and waits as its request says. `start` begins the launch: in user mode
/// by a fork of this process, in root mode by a word to the monitor.
///
/// # Errors
/// Everything that can be wrong with a server: [`Error::ServerMissing`],
/// [`Error::ServerUntrusted`], [`Error::ServerNotExecutable`], [`Error::HomeMissing`],
/// [`Error::ExecFailed`], [`Error::ExitedEarly`], [`Error::PortTaken`], and what
/// [`Denial`](crate::denial::Denial) has on hooks, privileges, the launch and the caller's end.
/// In each case no process of the server is left.
pub fn launch_server(
    spawn: Spawn,
    grant: &Grant,
    start: impl FnOnce(&Plan) -> Result<Link, Error>,
) -> Result<Launched, Failure> {
    let proof = grant.unprivileged();
    let (wait, events) = (spawn.wait, spawn.events);
    let unit = grant.name_unit(&spawn.server_name)?;
    let limits = unit.is_some().then(|| lower_limits(grant.policy(), spawn.limits));
    let plan = Plan::make(spawn, grant.policy(), proof)?;
    log::info!("starting {} for {}", plan.executable.path().display(), proof.target().name);
    let place = if unit.is_some() { Place::Unit } else { Place::Process };
    let mut watch = Watch::new(start(&plan)?, place, wait, events);
    match watch.until_up(&plan, proof) {
        Ok(listening) => {
            let (pid, started) = watch.identify_server();
            let (link, hooks) = watch.into_parts();
            let reply = Reply::Spawned(Spawned {
                ok: true,
                pid,
                started,
                unit: unit.map(|unit| unit.as_str().to_owned()),
                limits,
                listening,
                hooks,
                dropped_env: plan.environment.dropped,
            });
            Ok(Launched { link, reply })
        }
        Err(error) => {
            // The caller may try again at once: what it started must be gone by then.
            let (link, hooks) = watch.into_parts();
            link.wait_for_undoing();
            Err(Failure { error, hooks })
        }
    }
}
