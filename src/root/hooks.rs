//! Hooks: what root runs before a server starts, in order of their names, and after it.

pub mod after;
pub mod credentials;
pub mod runner;

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;

use crate::account::Account;
use crate::policy::Target;
use crate::policy::file::{Hooks, OnFailure};
use crate::trusted_file::{Distrust, TrustedDirectory};
use ground::denial::Denial;
use ground::report::{HookResult, HookStatus};
use ground::server_name::ServerName;
use runner::{Runner, Surroundings};

/// Proof that the hooks of a [`Target`] have run, or that it has none. In a container it holds the ids of the
/// command. Only this module makes one.
#[derive(Debug)]
#[must_use]
pub struct Prepared<W = Target> {
    whom: W,
}

impl<W> Prepared<W> {
    /// Whom the hooks have run for.
    pub fn into_inner(self) -> W {
        self.whom
    }

    /// For someone who has no hooks, or none any more.
    pub fn without_hooks(whom: W) -> Self {
        Self { whom }
    }
}

/// A file that passed all checks, or why it did not.
pub type Found = Result<PathBuf, HookResult>;

/// Runs the hooks of a server as root. If the policy says so, this process first enters its own mount
/// namespace, which the server inherits. `report` is called before and after each hook.
///
/// # Errors
/// [`Denial::HookFailed`] if a hook failed and the policy says that this matters, [`Denial::LaunchFailed`] if
/// no mount namespace can be made.
pub fn run_hooks(
    target: Target,
    settings: &Hooks,
    server_name: &ServerName,
    mut report: impl FnMut(HookResult),
) -> Result<Prepared, Denial> {
    let (user, variables) = (&target.account().name, list_variables(&target, server_name));
    let Due { found, runner, .. } = &Due::prepare(settings, &settings.dir, user, variables);
    if settings.private_mounts && found.iter().any(Result::is_ok) {
        let step = "a mount namespace for the hooks (hooks.private_mounts)";
        make_mounts_private().map_err(Denial::at(step))?;
    }
    for hook in found {
        let success = run_found(hook, runner, &mut report);
        if settings.on_failure == OnFailure::Fail {
            success.map_err(|name| Denial::HookFailed { name })?;
        }
    }
    Ok(Prepared { whom: target })
}

/// The hooks of one directory, and what they are run with.
struct Due {
    found: Vec<Found>,
    runner: Runner,
    /// Open for as long as they may run.
    _credentials: Option<File>,
}

impl Due {
    /// If the policy has secrets for them that are refused, none is run.
    fn prepare(
        settings: &Hooks,
        directory: &Path,
        user: &str,
        mut variables: Vec<Vec<u8>>,
    ) -> Self {
        let mut found = find_hooks(directory);
        let folder = settings.credentials.as_ref().filter(|_| !found.is_empty());
        let copied = folder.map_or(Ok(None), |folder| {
            let refuse = |reason| HookResult::new(folder, HookStatus::Refused, reason);
            credentials::copy(folder, user).map_err(refuse)
        });
        let copied = copied.unwrap_or_else(|refused| {
            found = vec![Err(refused)];
            None
        });
        variables.extend(copied.iter().map(credentials::to_variable));
        let (timeout, surroundings) = (settings.timeout, Surroundings::Clean);
        Self { found, runner: Runner { timeout, variables, surroundings }, _credentials: copied }
    }
}

/// Runs a hook, unless it was refused. `report` is called before and after.
///
/// # Errors
/// The name of a hook that failed.
pub fn run_found(
    hook: &Found,
    runner: &Runner,
    report: &mut impl FnMut(HookResult),
) -> Result<(), String> {
    let result = match hook {
        Err(refused) => refused.clone(),
        Ok(path) => {
            let name = path.file_name().map_or(Path::new(""), Path::new);
            report(HookResult::new(name, HookStatus::Running, String::new()));
            runner.run(path)
        }
    };
    let success = if result.status == HookStatus::Ok { Ok(()) } else { Err(result.name.clone()) };
    report(result);
    success
}

/// The hooks, in order of their names: regular executable files. Other files are ignored, and a missing
/// directory counts as empty.
#[must_use]
pub fn find_hooks(directory: &Path) -> Vec<Found> {
    let refuse = |path: &Path, distrust: Distrust| {
        Err(HookResult::new(path, HookStatus::Refused, distrust.to_string()))
    };
    let listed = TrustedDirectory::open(directory).and_then(|opened| Ok((opened.list()?, opened)));
    let (names, opened) = match listed {
        Ok(listed) => listed,
        Err(Distrust::Missing(_)) => return Vec::new(),
        Err(distrust) => return vec![refuse(directory, distrust)],
    };
    let executable = (Mode::S_IXUSR | Mode::S_IXGRP | Mode::S_IXOTH).bits();
    names
        .into_iter()
        .filter_map(|name| match opened.open_file(&name) {
            Ok((_, stat)) if stat.st_mode & executable == 0 => None,
            Ok(_) => Some(Ok(directory.join(name))),
            Err(Distrust::Kind(..)) => None,
            Err(distrust) => Some(refuse(&name, distrust)),
        })
        .collect()
}

/// The variables of hooks, as `NAME=value`. The only part of the request is the server's validated name.
pub fn list_variables(target: &Target, server_name: &ServerName) -> Vec<Vec<u8>> {
    let Account { name, uid, gid, home, .. } = target.account();
    let own = [
        format!("SUDOSPAWNER_UID={uid}"),
        format!("SUDOSPAWNER_GID={gid}"),
        format!("SUDOSPAWNER_HOME={}", home.display()),
        format!("SUDOSPAWNER_SERVER_NAME={}", server_name.as_str()),
        format!("NB_UID={uid}"),
        format!("NB_GID={gid}"),
    ];
    [list_variables_of_all(name), own.map(String::into_bytes).to_vec()].concat()
}

/// The variables of every program that root runs for a target of this name.
#[must_use]
pub fn list_variables_of_all(name: &str) -> Vec<Vec<u8>> {
    [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "HOME=/root".to_owned(),
        "LANG=C.UTF-8".to_owned(),
        format!("SUDOSPAWNER_USER={name}"),
        format!("NB_USER={name}"),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// Enters a mount namespace whose own mounts nobody else sees. Mounts of the host still come in, so
/// automounters and NFS keep working.
fn make_mounts_private() -> Result<(), nix::errno::Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_SLAVE, nothing)
}
