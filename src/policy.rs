//! Decides whether a request is granted.
//!
//! In user mode sudoers has decided already who may act for whom: sudo made this process the
//! target. What is left is what no configuration may allow.

use nix::unistd::{Uid, geteuid, getuid};

use crate::account::{Account, Caller};
use crate::error::Error;
use crate::request::Request;

/// A request that was granted, for a target that is not root. Only [`grant_in_user_mode`] makes one.
#[derive(Debug)]
#[must_use]
pub struct Grant {
    target: Account,
    request: Request,
}

impl Grant {
    /// Takes the grant apart for the one stage that may use it up.
    pub(crate) fn into_parts(self) -> (Account, Request) {
        (self.target, self.request)
    }
}

/// Resolves the account that sudo made us, whom the Hub calls the target.
///
/// # Errors
/// [`Error::TargetIsRoot`] for uid 0, whatever sudoers says, [`Error::TargetUnknown`], and
/// [`Error::TargetMismatch`] if `--user` names another account.
pub fn resolve_target(asked: Option<&str>) -> Result<Account, Error> {
    if getuid().is_root() || geteuid().is_root() {
        return Err(Error::TargetIsRoot);
    }
    let target = Account::of_this_process()?;
    // A second name for uid 0 never gets here, and nothing but the kernel's word counts.
    refuse_root(target.uid)?;
    match asked {
        Some(name) if name != target.name => {
            Err(Error::TargetMismatch { asked: name.to_owned(), actual: target.name })
        }
        _ => Ok(target),
    }
}

/// Grants a request in user mode.
///
/// # Errors
/// [`Error::TargetIsRoot`].
pub fn grant_in_user_mode(
    request: Request,
    target: Account,
    caller: Caller,
) -> Result<Grant, Error> {
    refuse_root(target.uid)?;
    if caller.uid == target.uid && std::env::var_os("SUDO_UID").is_some() {
        log::warn!(
            "{} starts its own server: the account that runs the Hub should not be a user of it",
            target.name
        );
    }
    Ok(Grant { target, request })
}

fn refuse_root(uid: Uid) -> Result<(), Error> {
    if uid.is_root() { Err(Error::TargetIsRoot) } else { Ok(()) }
}
