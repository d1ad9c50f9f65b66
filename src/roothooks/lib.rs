//! `jupyterhub-roothooks`: a container's entrypoint. It runs root's hooks, gives up root, and becomes the
//! command on its command line. It does what the monitor does for a server, without a policy and a Hub.
//!
//! The container's environment is its administrator's, so hooks and command keep it. Whatever a hook does,
//! the command is started.

pub mod execution;
pub mod failure;
pub mod hooks;
pub mod ids;
pub mod init;
pub mod options;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use nix::unistd::{geteuid, getgid, getgroups, getuid};

use crate::ids::{Ids, take_ids};
use execution::Execution;
use failure::Failure;
use ground::denial::Denial;
use ground::report::{HookResult, HookStatus};
use ground::system_calls;
use hooks::{ContainerHooks, run_hooks};
use init::HeldSignals;
use options::{Order, Stay};
use root::hooks::Prepared;
use root::privileges::Unprivileged;

/// Carries out a command line. Returns only if the command could not be started, or, as the command's init,
/// after its end.
///
/// # Errors
/// Every [`Failure`].
pub fn carry_out(order: &Order) -> Result<ExitCode, Failure> {
    if getuid() != geteuid() {
        return Err(Failure::Setuid);
    }
    let signals = match order.stay {
        Stay::AsCommand => None,
        // Held from now on, so that the command also gets a signal that arrives while a hook runs.
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
        let look_up = || Ids::look_up(order.uid, order.gid, &order.groups);
        return Ok(run_hooks(&order.hooks, look_up, log));
    }
    if getuid() != order.uid {
        let (own, asked) = (getuid().as_raw(), order.uid.as_raw());
        return Err(Failure::NotRoot { own, asked });
    }
    let own = getgroups().unwrap_or_default();
    if let Some(missing) = order.groups.iter().find(|group| !own.contains(group)) {
        return Err(Failure::GroupMissing(missing.as_raw()));
    }
    // An image with root hooks is still useful where nobody is root, as on mybinder.org.
    log::warn!("no hook is run: the container was started as uid {}, not as root", order.uid);
    Ok(Prepared::without_hooks(Ids::look_up(order.uid, getgid(), &[])))
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
    // If the directory was refused, the name is its absolute path, which joining keeps.
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
        (HookStatus::Timeout, ..) => {
            let rest = if system_calls::may_end_others() {
                "with all that it had started"
            } else {
                "but not what has become another user: that needs the capability KILL"
            };
            let limit = hooks.timeout.as_secs_f64();
            log::warn!("Hook {path} took longer than {limit} s and was ended, {rest}");
        }
        (HookStatus::Refused, ..) => log::warn!(
            "Hook {path} is not run: {} (--trust-hooks-dir: run it whoever could have written it)",
            result.output
        ),
    }
}
