//! Starts a server, and stays until it is up, has failed, or nobody waits for it any more.
//!
//! This runs as the target, like everything after the request is read. What root has to do for a server is
//! done by the [`root::monitor`], which was forked before.

pub mod job;
pub mod listener;
pub mod plan;
pub mod process;
pub mod told;
pub mod unit;
pub mod watch;

use std::fs::File;
use std::process::ExitCode;
use std::time::Duration;

use ground::diagnostics;
use ground::ending::{GRACE, LONGEST_ENDING};
use ground::report::{HookResult, Report};
use ground::wire::{Link, Wire};
use log::LevelFilter;
use nix::sys::stat::Mode as FileMode;
use root::policy::file::{Launcher, Policy};
use root::privileges::Unprivileged;
use root::session::Begun;
use root::unit_properties::lower_limits;

use crate::error::Error;
use crate::foreground::become_server;
use crate::grant::Grant;
use crate::mode::Mode;
use crate::reply::{Reply, Spawned, Submitted};
use crate::request::{Spawn, Wait};
use plan::Plan;
use told::Hooks;
use watch::{Place, Watch};

/// A started server whose caller has not been told. Dropping this before [`Launched::deliver`] ends the
/// server.
#[derive(Debug)]
#[must_use]
pub struct Launched {
    link: Link,
    reply: Reply,
}

impl Launched {
    /// Writes the reply. Only after that the server is the caller's. If the reply cannot be written, the
    /// server ends.
    pub fn deliver(self) {
        match self.reply.write() {
            Ok(()) => self.link.confirm_delivery(),
            Err(error) => log::warn!("the reply was not read ({error}), so the server is ended"),
        }
    }
}

/// Why a server was not started, with the results of the hooks that ran.
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

/// Starts the server of a grant, and waits as its request says. `start` begins the launch: in user mode by
/// forking this process, in root mode by telling the monitor.
///
/// # Errors
/// Everything that can be wrong with a server: [`Error::ServerMissing`], [`Error::ServerUntrusted`],
/// [`Error::ServerNotExecutable`], [`Error::HomeMissing`], [`Error::ExecFailed`], [`Error::ExitedEarly`],
/// [`Error::PortTaken`], [`Error::HomeUnresponsive`], [`Error::ServerUnresponsive`],
/// [`Error::TargetUnresponsive`], and those of
/// [`Denial`](ground::denial::Denial) about hooks, privileges, the launch and a caller that is gone. No process
/// of the server is left, unless the kernel keeps one that waits for its directory; that one never becomes a
/// server.
pub fn launch_server(
    spawn: Spawn,
    grant: Grant<'_>,
    start: impl FnOnce(&Plan) -> Result<Link, Error>,
) -> Result<Launched, Failure> {
    let (wait, events, profile) = (spawn.wait, spawn.events, spawn.profile.clone());
    let unit = grant.name_unit(&spawn.server_name).map_err(Error::from)?;
    let limits = unit.is_some().then(|| lower_limits(grant.policy(), spawn.limits));
    let plan = Plan::make(spawn, grant)?;
    log::info!("starting a server for {}", grant.whom().name);
    let dropped_env = &plan.environment.dropped;
    if !dropped_env.is_empty() {
        log::warn!("not passed on to the server, for security: {}", dropped_env.join(", "));
    }
    if let (true, Some(Wait { limit, .. })) = (grant.is_for_job(), wait) {
        return launch_job(start(&plan)?, limit, events, profile, plan, grant);
    }
    let place = if unit.is_some() { Place::Unit } else { Place::Process };
    let mut watch = Watch::new(start(&plan)?, place, wait, events);
    match watch.until_up(&plan.directory, grant) {
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
            // The caller may retry at once. What this call started must be gone by then, unless it waits for
            // a file server: the kernel may keep it until that answers, and the caller's time is over.
            let (link, hooks) = watch.into_parts();
            let is_stuck =
                matches!(error, Error::HomeUnresponsive { .. } | Error::ServerUnresponsive { .. });
            link.wait_for_undoing(if is_stuck { GRACE } else { LONGEST_ENDING });
            Err(Failure { error, hooks })
        }
    }
}

/// Waits for the server of a job in the same way.
fn launch_job(
    mut link: Link,
    limit: Duration,
    events: bool,
    profile: Option<String>,
    plan: Plan,
    grant: Grant<'_>,
) -> Result<Launched, Failure> {
    let mut hooks = Hooks::new(events);
    match job::until_listening(&mut link, limit, grant, &mut hooks) {
        Ok((news, port)) => {
            let reply = Reply::Submitted(Submitted {
                ok: true,
                job: news.job,
                started: news.started,
                host: news.host,
                port,
                listening: true,
                profile,
                hooks: hooks.results,
                dropped_env: plan.environment.dropped,
            });
            Ok(Launched { link, reply })
        }
        Err(error) => {
            link.wait_for_undoing(LONGEST_ENDING);
            Err(Failure { error, hooks: hooks.results })
        }
    }
}

/// Continues in a child of the monitor after root is given up: reads the request, and starts the server. Returns only on
/// failure, with the reason.
pub fn start_for_monitor(
    wire: &mut Wire,
    request: &mut File,
    policy: &Policy,
    inherited_umask: FileMode,
    proof: &Unprivileged,
) -> Report {
    if policy.server.launcher == Launcher::Slurm {
        let error = job::become_program(job::SUBMIT, wire, request, Mode::Root, proof);
        return Report::Failed(error.into());
    }
    process::become_supervisor_of(wire, request, None, policy, inherited_umask, proof)
}

/// Continues in a process of its own after root is given up: a unit's first one, or one that a session was opened in.
/// Becomes the server, or its supervisor. Returns only on failure, after telling the mediator why.
pub fn go_on(mut begun: Begun) -> ExitCode {
    diagnostics::start_logging("sudospawner", LevelFilter::Info);
    if begun.policy.server.launcher == Launcher::Systemd {
        return become_server(begun);
    }
    let Begun { proof, policy, request, variables, wire } = &mut begun;
    // With a policy, the caller's umask does not matter.
    let umask = FileMode::empty();
    let session = variables.as_mut();
    let report = process::become_supervisor_of(wire, request, session, policy, umask, proof);
    wire.send(&report);
    ExitCode::FAILURE
}
