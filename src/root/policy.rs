//! Decides whom root acts for. The check numbers are those of `docs/security.md`.
//!
//! This module decides in root mode. In user mode sudoers has already decided who may act for whom, and sudo
//! has made this process the target.

pub mod file;
pub mod reading;
pub mod systemd;
pub mod units;

use ground::denial::Denial;
use nix::unistd::{Gid, Group, Uid};

use crate::account::{Account, Caller, NOBODY};
use crate::trusted_file::check_trusted;
use file::Policy;

/// An account that root may start a server for. Only [`Policy::admit_target`] makes one.
#[derive(Debug, Clone)]
#[must_use]
pub struct Target {
    account: Account,
    groups: Vec<Gid>,
}

impl Target {
    /// The account.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The account's groups at the time of the lookup.
    #[must_use]
    pub fn groups(&self) -> &[Gid] {
        &self.groups
    }
}

impl Policy {
    /// Reads the policy that root decides by.
    ///
    /// # Errors
    /// [`Denial::BinaryUntrusted`] (check 2), [`Denial::PolicyMissing`], and those of [`Policy::load`].
    pub fn load_for_root() -> Result<Self, Denial> {
        // Whoever can replace our own binary is already root.
        let own = std::fs::read_link("/proc/self/exe").unwrap_or_default();
        check_trusted(&own).map_err(|distrust| Denial::BinaryUntrusted(distrust.to_string()))?;
        Self::load()?.ok_or(Denial::PolicyMissing)
    }

    /// Check 3: whether this caller may call root mode. Root itself may.
    ///
    /// # Errors
    /// [`Denial::CallerNotPermitted`].
    pub fn admit_caller(&self, caller: &Caller) -> Result<(), Denial> {
        if caller.uid.is_root() || self.is_hub_user(caller.uid) {
            return Ok(());
        }
        Err(Denial::CallerNotPermitted { uid: caller.uid.as_raw() })
    }

    /// Check 4: resolves the target once, and decides whether it may have a server. `known` are its groups if
    /// root has just looked them up.
    ///
    /// # Errors
    /// [`Denial::TargetIsRoot`], [`Denial::TargetUnknown`] and [`Denial::TargetNotPermitted`].
    pub fn admit_target(&self, asked: &str, known: Option<Vec<Gid>>) -> Result<Target, Denial> {
        let account = Account::by_name(asked)
            .ok_or_else(|| Denial::TargetUnknown { asked: format!("the name {asked:?}") })?;
        let targets = &self.targets;
        check_account(&account, targets.min_uid)?;
        if self.is_hub_user(account.uid) {
            return Err(refuse(&account, "it is one of hub_users"));
        }
        if account.uid.as_raw() == NOBODY {
            return Err(refuse(&account, "it is nobody, as whom requests are read"));
        }
        let groups = known.map_or_else(|| list_groups(&account), Ok)?;
        let mut permitted = targets.groups.iter().filter_map(|name| Group::from_name(name).ok()?);
        let is_member = permitted.any(|group| groups.contains(&group.gid));
        if !targets.users.contains(&account.name) && !is_member {
            let reason = "it is neither in targets.users nor, as the account database answers, in one of targets.groups";
            return Err(refuse(&account, reason));
        }
        if account.is_closed() && !targets.allow_nologin {
            let reason = "its shell lets nobody log in, and targets.allow_nologin is false";
            return Err(refuse(&account, reason));
        }
        if account.has_expired() {
            return Err(refuse(&account, "it has expired (chage --list tells when)"));
        }
        Ok(Target { account, groups })
    }

    fn is_hub_user(&self, uid: Uid) -> bool {
        let mut accounts = self.hub_users.iter().filter_map(|name| Account::by_name(name));
        accounts.any(|account| account.uid == uid)
    }
}

/// The part of check 4 that applies in both modes. `least` is the lowest uid that may have a server.
///
/// # Errors
/// [`Denial::TargetIsRoot`] and [`Denial::TargetNotPermitted`].
pub fn check_account(account: &Account, least: u32) -> Result<(), Denial> {
    if account.uid.is_root() {
        return Err(Denial::TargetIsRoot);
    }
    // Hooks and the policy build paths from the name.
    if [".", ".."].contains(&account.name.as_str()) {
        return Err(refuse(account, "its name is no name of a file"));
    }
    if account.uid.as_raw() < least {
        return Err(refuse(account, "its uid is below targets.min_uid"));
    }
    Ok(())
}

/// The groups of an account that is to become a target.
///
/// # Errors
/// [`Denial::TargetNotPermitted`].
pub fn list_groups(account: &Account) -> Result<Vec<Gid>, Denial> {
    let groups = account.list_groups(account.gid);
    groups.map_err(|_| refuse(account, "its groups cannot be looked up"))
}

fn refuse(account: &Account, reason: &str) -> Denial {
    Denial::TargetNotPermitted { target: account.name.clone(), reason: reason.to_owned() }
}
