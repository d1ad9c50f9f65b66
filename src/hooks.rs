//! Hooks: what root runs, in order of their names, before a server starts.

pub mod runner;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};
use serde::{Deserialize, Serialize};

use crate::account::Ids;
use crate::error::Error;
use crate::policy::Target;
use crate::policy::file::{Hooks, OnFailure};
use crate::server_name::ServerName;
use crate::trusted_file::{Distrust, TrustedDirectory};
use runner::{Runner, Surroundings};

/// What became of a hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HookResult {
    /// The file's name; a path for what was refused as a whole.
    pub name: String,
    /// How it went.
    pub status: HookStatus,
    /// Its exit status.
    pub exit: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The last 4 KiB that it wrote, as text, or why it was not run.
    pub output: String,
}

/// How a hook went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookStatus {
    /// It is running now; in events alone.
    Running,
    /// It exited with status 0.
    Ok,
    /// It exited with another status, was killed, or could not be executed.
    Failed,
    /// It took too long, and was ended with all that it had started.
    Timeout,
    /// It was not run, since others than root could have written it.
    Refused,
}

impl HookResult {
    /// What is said of a hook while it runs, or that was not run at all.
    #[must_use]
    pub fn new(name: &Path, status: HookStatus, output: String) -> Self {
        let name = name.display().to_string();
        Self { name, status, exit: None, signal: None, seconds: 0.0, output }
    }
}

/// Whose hooks are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Those that only root can have written.
    RootAlone,
    /// All that are there, through symbolic links, too: whoever built the image answers for them.
    AnyOwner,
}

/// Somebody whose hooks have run, or who has none: a [`Target`], or the [`Ids`] of a container's
/// command. Only this module makes one.
#[derive(Debug)]
#[must_use]
pub struct Prepared<W = Target> {
    whom: W,
}

impl<W> Prepared<W> {
    /// Whom the hooks were run for.
    pub fn into_inner(self) -> W {
        self.whom
    }

    /// For whatever starts no server, and where root has no part in it.
    pub fn without_hooks(whom: W) -> Self {
        Self { whom }
    }
}

/// A file that passed all checks, or the reason why it did not.
type Found = Result<PathBuf, HookResult>;

/// Runs the hooks of a server as root, in a mount namespace of their own if the policy says so, which
/// this process and the server that it starts are in from then on. `report` is told before and after
/// each.
///
/// # Errors
/// [`Error::HookFailed`] if one did not succeed and the policy says that this matters,
/// [`Error::LaunchFailed`] if there can be no mount namespace.
pub fn run_hooks(
    target: Target,
    settings: &Hooks,
    server_name: &ServerName,
    mut report: impl FnMut(HookResult),
) -> Result<Prepared, Error> {
    let found = find_hooks(&settings.dir, Trust::RootAlone);
    if settings.private_mounts && found.iter().any(Result::is_ok) {
        make_mounts_private().map_err(|errno| Error::LaunchFailed {
            step: "a mount namespace for the hooks (hooks.private_mounts)".to_owned(),
            errno,
        })?;
    }
    let surroundings = Surroundings::Clean(list_variables(&target, server_name));
    let runner = Runner { timeout: settings.timeout, surroundings };
    for hook in found {
        let success = run_found(hook, &runner, &mut report);
        if settings.on_failure == OnFailure::Fail {
            success.map_err(|name| Error::HookFailed { name })?;
        }
    }
    Ok(Prepared { whom: target })
}

/// The hooks of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerHooks {
    /// The directory that they are in.
    pub directory: PathBuf,
    /// Whose hooks are run.
    pub trust: Trust,
    /// How long each may take.
    pub timeout: Duration,
}

/// Runs the hooks of a container, whose variables, working directory, stdout and stderr they share.
/// None of them keeps the command from being started. `report` is told before and after each.
///
/// The uid's account is looked up afterwards, since a hook may be what makes it.
pub fn run_container_hooks(
    hooks: &ContainerHooks,
    uid: Uid,
    gid: Gid,
    mut report: impl FnMut(HookResult),
) -> Prepared<Ids> {
    let runner = Runner { timeout: hooks.timeout, surroundings: Surroundings::Inherited };
    for hook in find_hooks(&hooks.directory, hooks.trust) {
        let _ = run_found(hook, &runner, &mut report);
    }
    Prepared { whom: Ids::look_up(uid, gid) }
}

/// Runs a hook, unless it was refused; its name if it did not succeed.
fn run_found(
    hook: Found,
    runner: &Runner,
    report: &mut impl FnMut(HookResult),
) -> Result<(), String> {
    let result = match hook {
        Err(refused) => refused,
        Ok(path) => {
            let name = path.file_name().map_or(Path::new(""), Path::new);
            report(HookResult::new(name, HookStatus::Running, String::new()));
            runner.run(&path)
        }
    };
    let success = if result.status == HookStatus::Ok { Ok(()) } else { Err(result.name.clone()) };
    report(result);
    success
}

/// The hooks in order of their names: regular files that can be executed. Nothing is said of other
/// files; a missing directory is an empty one.
fn find_hooks(directory: &Path, trust: Trust) -> Vec<Found> {
    match trust {
        Trust::RootAlone => find_hooks_of_root(directory),
        Trust::AnyOwner => find_hooks_of_anyone(directory),
    }
}

fn find_hooks_of_anyone(directory: &Path) -> Vec<Found> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let reason = format!("it cannot be read: {error}");
            return vec![Err(HookResult::new(directory, HookStatus::Refused, reason))];
        }
    };
    let is_hook = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let mut paths: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_hook).collect();
    paths.sort();
    paths.into_iter().map(Ok).collect()
}

fn find_hooks_of_root(directory: &Path) -> Vec<Found> {
    let refuse = |path: &Path, distrust: Distrust| {
        Err(HookResult::new(path, HookStatus::Refused, distrust.to_string()))
    };
    let opened = match TrustedDirectory::open(directory) {
        Ok(opened) => opened,
        Err(Distrust::Missing(_)) => return Vec::new(),
        Err(distrust) => return vec![refuse(directory, distrust)],
    };
    let names = match opened.list() {
        Ok(names) => names,
        Err(distrust) => return vec![refuse(directory, distrust)],
    };
    let executable = (Mode::S_IXUSR | Mode::S_IXGRP | Mode::S_IXOTH).bits();
    names
        .into_iter()
        .filter_map(|name| match opened.open_file(&name) {
            Ok((_, stat)) if stat.st_mode & executable == 0 => None,
            Ok(_) => Some(Ok(opened.path().join(name))),
            Err(Distrust::Kind(..)) => None,
            Err(distrust) => Some(refuse(&name, distrust)),
        })
        .collect()
}

/// What hooks get to know; nothing of the request but the server's name, which is validated.
fn list_variables(target: &Target, server_name: &ServerName) -> Vec<(&'static str, String)> {
    let account = target.account();
    let (uid, gid) = (account.uid.to_string(), account.gid.to_string());
    vec![
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("HOME", "/root".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("SUDOSPAWNER_USER", account.name.clone()),
        ("SUDOSPAWNER_UID", uid.clone()),
        ("SUDOSPAWNER_GID", gid.clone()),
        ("SUDOSPAWNER_HOME", account.home.display().to_string()),
        ("SUDOSPAWNER_SERVER_NAME", server_name.as_str().to_owned()),
        ("NB_USER", account.name.clone()),
        ("NB_UID", uid),
        ("NB_GID", gid),
    ]
}

/// A mount namespace whose own mounts nobody else sees, while those of the host still come in:
/// automounters and NFS go on to work.
fn make_mounts_private() -> Result<(), nix::errno::Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_SLAVE, nothing)
}
