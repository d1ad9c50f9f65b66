//! Looks as another account. Root becomes it for good, in this process or in a separate one.

use ground::mounts::describe_mount;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use nix::unistd::geteuid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::apart::{Silence, run_apart};
use super::finding::{Area, Finding};
use ground::denial::Denial;
use root::account::Account;
use root::privileges::become_account;

/// How long a look usually may take. Another account's files may never open.
pub const LIMIT: Duration = Duration::from_secs(5);

/// No command mends a file server. This one says which they are, and does not ask them.
pub const SHOW_MOUNTS: &str = "findmnt --list --output TARGET,SOURCE,FSTYPE";

/// Becomes the account if this process is root. Otherwise does nothing.
pub fn become_if_root(account: &Account) -> Result<(), Denial> {
    if geteuid().is_root() { become_account(account) } else { Ok(()) }
}

/// Looks at what another account may block, in a separate process with a time limit. If root looks, that
/// process first becomes the account.
///
/// # Errors
/// A sentence if there is no result.
pub fn look_as<T: Serialize + DeserializeOwned>(
    account: &Account,
    limit: Duration,
    look: impl FnOnce() -> T,
) -> Result<T, Silence> {
    let who = format!("what looks as {}", account.name);
    look_apart(&who, limit, || become_if_root(account).is_ok().then(look))
}

/// Looks in a separate process with a time limit, as the account of this one. `who` begins the sentence if
/// there is no result.
///
/// # Errors
/// That sentence.
pub fn look_apart<T: Serialize + DeserializeOwned>(
    who: &str,
    limit: Duration,
    look: impl FnOnce() -> Option<T>,
) -> Result<T, Silence> {
    let said = run_apart(who, limit, b"", |ends| {
        let text = look().and_then(|seen| serde_json::to_vec(&seen).ok());
        text.is_some_and(|text| File::from(ends.output).write_all(&text).is_ok())
    })?;
    serde_json::from_slice(&said.output).map_err(|_| Silence(format!("{who} said nothing")))
}

/// Looks at a file, or at what is in a directory, in a separate process with a time limit.
///
/// # Errors
/// A sentence with the path and its file system if there is no result.
pub fn look_at<T: Serialize + DeserializeOwned>(
    path: &Path,
    look: impl FnOnce() -> T,
) -> Result<T, Silence> {
    let who = format!("what looks at {}", path.display());
    look_apart(&who, LIMIT, || Some(look())).map_err(|silence| name_mount(silence, path))
}

/// The same for findings, of which one may be that there is no answer.
pub fn report(area: Area, path: &Path, look: impl FnOnce() -> Vec<Finding>) -> Vec<Finding> {
    look_at(path, look).unwrap_or_else(|silence| vec![say_unanswered(area, &silence)])
}

/// That a look at files has no result.
pub fn say_unanswered(area: Area, silence: &Silence) -> Finding {
    let code = "unanswered";
    Finding::problem(area, code, silence.to_string(), SHOW_MOUNTS)
}

/// Adds to a sentence on what file system the path is. The root directory's own is not it, since something has been
/// read from there: the path has a link.
pub fn name_mount(Silence(sentence): Silence, path: &Path) -> Silence {
    let mount = describe_mount(path);
    Silence(mount.map(|mount| format!("{sentence}: {mount}")).unwrap_or(sentence))
}
