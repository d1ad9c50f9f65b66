//! The hooks of a container, which may belong to the builder of its image.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ids::Ids;
use ground::report::{HookResult, HookStatus};
use root::hooks::runner::{Runner, Surroundings};
use root::hooks::{Found, Prepared, find_hooks, run_found};

/// Which hooks are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Those that only root can have written.
    RootAlone,
    /// All of them, even through symbolic links: the builder of the image answers for them.
    AnyOwner,
}

/// The hooks of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerHooks {
    /// Their directory.
    pub directory: PathBuf,
    /// Which hooks are run.
    pub trust: Trust,
    /// How long each may take.
    pub timeout: Duration,
}

/// Runs the hooks of a container. They share its variables, working directory, stdout and stderr. No hook
/// prevents the command from starting. `report` is called before and after each.
///
/// The uid's account is looked up afterwards, since a hook may create it.
pub fn run_hooks(
    hooks: &ContainerHooks,
    look_up: impl FnOnce() -> Ids,
    mut report: impl FnMut(HookResult),
) -> Prepared<Ids> {
    let variables = std::env::vars_os()
        .map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='))
        .collect();
    let runner =
        Runner { timeout: hooks.timeout, variables, surroundings: Surroundings::Inherited };
    let found = match hooks.trust {
        Trust::RootAlone => find_hooks(&hooks.directory),
        Trust::AnyOwner => find_hooks_of_anyone(&hooks.directory),
    };
    for hook in found {
        let _ = run_found(&hook, &runner, &mut report);
    }
    Prepared::without_hooks(look_up())
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
