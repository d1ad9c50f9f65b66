//! Starts a server and stays until it is up, has failed, or nobody waits for it any more.
//!
//! This, as all that follows the reading of the request, is done as the target. What root has to do
//! for a server is done by the [`crate::monitor`], which was forked before.

pub mod link;
pub mod listener;
pub mod process;
pub mod watch;

use std::fs::File;
use std::io::{Read, Seek};

use nix::errno::Errno;

use crate::environment::Environment;
use crate::error::Error;
use crate::hooks::HookResult;
use crate::policy::file::Policy;
use crate::policy::grant::Grant;
use crate::privileges::Unprivileged;
use crate::reply::Reply;
use crate::request::{Request, Spawn};
use crate::server::Executable;
use crate::server_name::ServerName;
use link::Link;
use watch::Watch;

/// Everything that is decided about a server before it is started.
#[derive(Debug)]
pub struct Plan {
    /// Its file.
    pub executable: Executable,
    /// Its arguments.
    pub args: Vec<std::ffi::CString>,
    /// Its environment.
    pub environment: Environment,
    /// Which of the target's servers it is.
    pub server_name: ServerName,
}

impl Plan {
    /// Reads the request that the mediator has granted and left in this file, as the target.
    ///
    /// # Errors
    /// As [`Plan::make`]; [`Denial::LaunchFailed`](crate::denial::Denial::LaunchFailed) if the file does
    /// not hold the request of a spawn.
    pub fn read(file: &mut File, policy: &Policy, proof: &Unprivileged) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        file.rewind()
            .and_then(|()| file.read_to_end(&mut bytes))
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
        Ok(Self {
            executable: Executable::find(policy, proof)?,
            args: spawn.args,
            environment: Environment::prepare(spawn.env, &policy.environment)?,
            server_name: spawn.server_name,
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
    let plan = Plan::make(spawn, grant.policy(), proof)?;
    log::info!("starting {} for {}", plan.executable.path().display(), proof.target().name);
    let mut watch = Watch::new(start(&plan)?, wait, events);
    match watch.until_up(&plan.executable, proof) {
        Ok(listening) => {
            let (pid, started) = watch.identify_server();
            let (link, hooks) = watch.into_parts();
            let dropped_env = plan.environment.dropped;
            let reply = Reply::Spawned { ok: true, pid, started, listening, hooks, dropped_env };
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
