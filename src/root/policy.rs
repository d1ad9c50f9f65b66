//! Decides whom root acts for. The check numbers are those of `docs/security.md`.
//!
//! This module decides in root mode. In user mode sudoers has already decided who may act for whom, and sudo
//! has made this process the target.

pub mod file;
pub mod reading;
pub mod systemd;

use ground::denial::Denial;
use nix::unistd::{Gid, Group, Uid};

use crate::account::{Account, Caller, NOBODY, Way};
use crate::trusted_file::check_trusted;
use file::{Policy, Targets};

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

    /// Check 3: whether this caller may call root mode. Root itself may, except through the socket: somebody may have
    /// had one of root's programs connect.
    ///
    /// # Errors
    /// [`Denial::CallerNotPermitted`].
    pub fn admit_caller(&self, caller: &Caller) -> Result<(), Denial> {
        let is_exempt = match caller.way {
            Way::Command => caller.uid.is_root(),
            Way::Socket => false,
        };
        // At a socket, nobody is whoever does not exist in our user namespace.
        let is_somebody = caller.way == Way::Command || caller.uid.as_raw() != NOBODY;
        if is_exempt || is_somebody && self.is_hub_user(caller.uid) {
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
        let groups = check_account(&account, targets, known)?;
        require(&account, !self.is_hub_user(account.uid), "it is one of hub_users")?;
        let is_person = account.uid.as_raw() != NOBODY;
        require(&account, is_person, "it is nobody, as whom requests are read")?;
        let mut gids = targets.groups.iter().filter_map(|name| find_gid(name));
        let is_in = targets.users.contains(&account.name) || gids.any(|gid| groups.contains(&gid));
        let reason = "it is neither in targets.users nor, as the account database answers, in one of targets.groups";
        require(&account, is_in, reason)?;
        let reason = "its shell lets nobody log in, and targets.allow_nologin is false";
        require(&account, targets.allow_nologin || !account.is_closed(), reason)?;
        require(&account, !account.has_expired(), "it has expired (chage --list tells when)")?;
        Ok(Target { account, groups })
    }

    fn is_hub_user(&self, uid: Uid) -> bool {
        let mut accounts = self.hub_users.iter().filter_map(|name| Account::by_name(name));
        accounts.any(|account| account.uid == uid)
    }
}

/// The part of check 4 that applies in both modes. Returns the account's groups, which are `known` if root has just
/// looked them up.
///
/// # Errors
/// [`Denial::TargetIsRoot`] and [`Denial::TargetNotPermitted`].
pub fn check_account(
    account: &Account,
    targets: &Targets,
    known: Option<Vec<Gid>>,
) -> Result<Vec<Gid>, Denial> {
    if account.uid.is_root() {
        return Err(Denial::TargetIsRoot);
    }
    // Hooks and the policy build paths from the name.
    let is_name = ![".", ".."].contains(&account.name.as_str());
    require(account, is_name, "its name is no name of a file")?;
    require(account, account.uid.as_raw() >= targets.min_uid, "its uid is below targets.min_uid")?;
    let groups = known.map_or_else(|| account.list_groups(account.gid), Ok);
    let groups = groups.map_err(|_| refuse(account, "its groups cannot be looked up"))?;
    for name in &targets.deny_groups {
        // A directory that does not answer knows no group, and may have the account in this one.
        let reason = format!("the account database knows no group {name} (targets.deny_groups)");
        let gid = find_gid(name).ok_or_else(|| refuse(account, &reason))?;
        let reason = format!("it is in the group {name} (targets.deny_groups)");
        require(account, !groups.contains(&gid), &reason)?;
    }
    Ok(groups)
}

fn find_gid(group: &str) -> Option<Gid> {
    Some(Group::from_name(group).ok()??.gid)
}

fn require(account: &Account, holds: bool, reason: &str) -> Result<(), Denial> {
    if holds { Ok(()) } else { Err(refuse(account, reason)) }
}

fn refuse(account: &Account, reason: &str) -> Denial {
    Denial::TargetNotPermitted { target: account.name.clone(), reason: reason.to_owned() }
}
