//! `jupyterhub-roothooks`: a container's entrypoint. It runs root's hooks, gives up root, and becomes
//! the command of its command line: what the monitor does for a server, without a policy and a Hub.
//!
//! The container's environment belongs to its administrator, so that hooks and command keep it. Nothing
//! that a hook does keeps the command from being started.

pub mod execution;
pub mod hooks;
pub mod init;
pub mod options;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::unistd::{geteuid, getgid, getuid};
use thiserror::Error as ThisError;

use crate::denial::Denial;
use crate::hooks::{HookResult, HookStatus, Prepared};
use crate::privileges::Unprivileged;
use crate::privileges::container::{Ids, take_ids};
use execution::Execution;
use hooks::{ContainerHooks, run_hooks};
use init::HeldSignals;
use options::{Order, Stay};

/// Why the command was not started.
#[derive(Debug, ThisError)]
pub enum Failure {
    /// The command line, or a variable that stands for an option, is not one that this program takes.
    #[error("{0}; `jupyterhub-roothooks --help` lists the options")]
    Usage(String),
    /// Somebody else than root has become root by a setuid bit.
    #[error("this program is for root: take away its setuid bit, and start the container as root")]
    Setuid,
    /// Another account than root cannot become the one that was asked for.
    #[error("uid {own} cannot become uid {asked}: start the container as root (runAsUser: 0)")]
    NotRoot {
        /// The uid of this process.
        own: u32,
        /// The uid that the command is to have.
        asked: u32,
    },
    /// Root could not be given up.
    #[error(
        "root could not be given up ({0}): the container needs the capabilities SETUID and SETGID"
    )]
    PrivilegesLeft(String),
    /// A system call on the way to the command failed.
    #[error("{step}: {errno}")]
    SystemError {
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// The command could not be executed.
    #[error("the command {command} could not be executed: {errno}")]
    NotExecuted {
        /// Its first word.
        command: String,
        /// What the kernel said.
        errno: Errno,
    },
}

impl Failure {
    /// The exit status, as env(1) and shells have it for a command that was not started.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::NotExecuted { errno: Errno::ENOENT, .. } => 127,
            Self::NotExecuted { .. } => 126,
            _ => 1,
        }
    }
}

/// Carries out a command line; returns only if the command could not be started, or as the command's
/// init, after its end.
///
/// # Errors
/// Every [`Failure`].
pub fn carry_out(order: &Order) -> Result<ExitCode, Failure> {
    if getuid() != geteuid() {
        return Err(Failure::Setuid);
    }
    let signals = match order.stay {
        Stay::AsCommand => None,
        // Held from now on, so that one that comes while a hook runs is the command's, too.
        Stay::AsInit => Some(HeldSignals::hold()?),
    };
    let prepared = prepare(order)?;
    let proof = take_ids(prepared, order.escalation).map_err(|error| match error {
        Denial::PrivilegesLeft(step) => Failure::PrivilegesLeft(step),
        other => Failure::PrivilegesLeft(other.to_string()),
    })?;
    start_command(order, signals, &proof)
}

fn prepare(order: &Order) -> Result<Prepared<Ids>, Failure> {
    if geteuid().is_root() {
        log_missing_directory(&order.hooks.directory);
        let log = |result: HookResult| log_hook(&order.hooks, &result);
        return Ok(run_hooks(&order.hooks, order.uid, order.gid, log));
    }
    if getuid() != order.uid {
        let (own, asked) = (getuid().as_raw(), order.uid.as_raw());
        return Err(Failure::NotRoot { own, asked });
    }
    // An image with root hooks is still of use where nobody is root, as on mybinder.org.
    log::warn!("no hook is run: the container was started as uid {}, not as root", order.uid);
    Ok(Prepared::without_hooks(Ids::look_up(order.uid, getgid())))
}

fn start_command(
    order: &Order,
    signals: Option<HeldSignals>,
    proof: &Unprivileged<Ids>,
) -> Result<ExitCode, Failure> {
    let execution = Execution::prepare(&order.command, proof)?;
    match signals {
        None => Err(execution.execute()),
        Some(signals) => signals.stay_beside(&execution),
    }
}

fn log_missing_directory(directory: &Path) {
    match fs::metadata(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            log::info!("no hook is run: there is no directory {}", directory.display());
        }
        _ => {}
    }
}

fn log_hook(hooks: &ContainerHooks, result: &HookResult) {
    // What was refused as a whole has its path for a name, and stays that when joined.
    let path = hooks.directory.join(&result.name);
    let (path, seconds) = (path.display(), result.seconds);
    match (result.status, result.exit, result.signal) {
        (HookStatus::Running, ..) => log::info!("executing {path}"),
        (HookStatus::Ok, ..) => {
            log::info!("Hook {path} finished with exit code 0 after {seconds} s");
        }
        (HookStatus::Failed, Some(exit), _) => {
            log::warn!("Hook {path} finished with exit code {exit} after {seconds} s");
        }
        (HookStatus::Failed, None, Some(signal)) => {
            log::warn!("Hook {path} was killed by signal {signal} after {seconds} s");
        }
        (HookStatus::Failed, None, None) => log::warn!("Hook {path}: {}", result.output),
        (HookStatus::Timeout, ..) => log::warn!(
            "Hook {path} took longer than {} s and was ended, with all that it had started",
            hooks.timeout.as_secs_f64()
        ),
        (HookStatus::Refused, ..) => log::warn!(
            "Hook {path} is not run: {} (--trust-hooks-dir: run it whoever could have written it)",
            result.output
        ),
    }
}
