//! Enrolment: a program of root's makes the account of a name that the account database does not know
//! (`[accounts] create`). What it has made may be anything: check 4 decides on it as on any account.

use std::path::Path;
use std::time::Duration;

use ground::denial::Denial;
use ground::ending::{GRACE, end_children};
use ground::report::HookStatus;
use ground::turn::Turn;
use ground::waiting::within_limit;
use nix::errno::Errno;
use nix::unistd::{Group, User};

use crate::account::is_name;
use crate::hooks::list_variables_of_all;
use crate::hooks::runner::{Runner, Surroundings};
use crate::policy::file::Policy;
use crate::trusted_file::{make_trusted, open_trusted};

/// Root's folder that says whose turn it is, and how many accounts a minute has had.
const FOLDER: &str = "/run/sudospawner/accounts";

/// Has the account made if the account database knows none of this name. Returns whether the program was run.
///
/// # Errors
/// [`Denial::TargetUnknown`] if none may be made of this name, [`Denial::AccountNotCreated`] and
/// [`Denial::AccountsTooMany`].
pub fn enrol(name: &str, policy: &Policy) -> Result<bool, Denial> {
    let settings = &policy.accounts;
    let Some(program) = &settings.create else { return Ok(false) };
    let failed = |reason: String| Denial::AccountNotCreated { name: name.to_owned(), reason };
    let silent = |errno| failed(format!("the account database has not answered: {errno}"));
    let refused = |reason: &str| Denial::TargetUnknown {
        asked: format!("the name {name:?}, and none is made, since {reason}"),
    };
    let is_name = is_name(name) && ![".", ".."].contains(&name);
    if is_name && within_limit(|| is_known(name)).map_err(silent)? {
        return Ok(false);
    }
    if !is_name || !settings.names.matches(name) {
        return Err(refused("accounts.names does not match it"));
    }
    let turn = take_turn(settings.timeout).map_err(failed)?;
    // Another call may have made it by now, or one that is like it.
    if within_limit(|| is_known(name)).map_err(silent)? {
        return Ok(false);
    }
    if let Some(reason) = within_limit(|| find_objection(name, policy)).map_err(silent)? {
        return Err(refused(reason));
    }
    let per_minute = settings.per_minute.get();
    if !turn.take_place(per_minute).map_err(|error| failed(format!("{FOLDER}: {error}")))? {
        return Err(Denial::AccountsTooMany { name: name.to_owned(), per_minute });
    }
    run(program, name, settings.timeout).map(|()| true).map_err(failed)
}

/// Whether there is any answer, even one with another name.
///
/// # Errors
/// What the account database says if a part of it does not answer. Nothing is known then.
fn is_known(name: &str) -> Result<bool, Errno> {
    User::from_name(name).map(|user| user.is_some())
}

/// Why an account of this name, which nobody has, could be taken for something else.
fn find_objection(name: &str, policy: &Policy) -> Result<Option<&'static str>, Errno> {
    let lower = name.to_lowercase();
    let is_like = |other: &str| other.to_lowercase() == lower;
    if policy.hub_users.iter().any(|hub| is_like(hub)) {
        return Ok(Some("it is one of hub_users"));
    }
    // What is asked for by name here may be there in other letters.
    let accounts = std::fs::read("/etc/passwd").map_err(|_| Errno::EIO)?;
    let accounts = String::from_utf8_lossy(&accounts);
    let mut names = accounts.lines().filter_map(|line| line.split(':').next());
    if names.any(is_like) || is_known(&lower)? || is_known(&name.to_uppercase())? {
        return Ok(Some("another account's name differs from it by case alone"));
    }
    let group = Group::from_name(name)?;
    Ok(group.map(|_| "a group has this name"))
}

/// Waits until no other call makes an account.
fn take_turn(limit: Duration) -> Result<Turn, String> {
    let folder = Path::new(FOLDER);
    make_trusted(folder).map_err(|distrust| distrust.to_string())?;
    let late = |error| format!("other calls that make one take too long ({FOLDER}: {error})");
    Turn::wait_for(folder, limit).map_err(late)
}

/// Runs the program as hooks are run, and ends what it leaves.
fn run(program: &Path, name: &str, timeout: Duration) -> Result<(), String> {
    open_trusted(program).map_err(|distrust| format!("accounts.create is refused: {distrust}"))?;
    let (variables, surroundings) = (list_variables_of_all(name), Surroundings::Clean);
    let result = Runner { timeout, variables, surroundings }.run(program);
    end_children(GRACE);
    if result.status == HookStatus::Ok {
        return Ok(());
    }
    Err(format!("{} (accounts.create) {}", program.display(), result.explain()))
}
