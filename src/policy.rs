//! Decides whether a request is granted. The numbers are those of the checks in `docs/security.md`.
//!
//! In user mode sudoers has decided who may act for whom: sudo made this process the target. In root
//! mode the policy file decides it.

pub mod file;
pub mod grant;
mod reading;
pub mod systemd;
pub mod units;

use std::path::PathBuf;

use nix::unistd::{Gid, Group, Uid, geteuid, getuid};

use crate::account::{Account, Caller};
use crate::error::Error;
use crate::trusted_file::open_trusted;
use file::Policy;

/// How this program was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As the target: `sudo -u zoe sudospawner`.
    User,
    /// As root: `sudo sudospawner --user=zoe`.
    Root,
}

/// An account that may have a server. Only [`Rules::admit_target`] makes one.
#[derive(Debug, Clone)]
#[must_use]
pub struct Target {
    account: Account,
    /// In root mode all of the account's groups; in user mode the process has them already.
    groups: Vec<Gid>,
    mode: Mode,
}

impl Target {
    /// The account.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// In root mode all of the account's groups, as they were when it was admitted.
    #[must_use]
    pub fn groups(&self) -> &[Gid] {
        &self.groups
    }

    /// How we were called for it.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

/// The policy, and the mode in which it applies.
#[derive(Debug)]
pub struct Rules {
    policy: Policy,
    mode: Mode,
}

impl Rules {
    /// Finds out the mode and reads the policy file. `asked` is the value of `--user`.
    ///
    /// # Errors
    /// [`Error::TargetIsRoot`] for root without `--user`, [`Error::PolicyMissing`] for root mode
    /// without a file, [`Error::BinaryUntrusted`] (check 2), and what is wrong with a file that is
    /// there, in either mode.
    pub fn load(asked: Option<&str>) -> Result<Self, Error> {
        let mode = match (geteuid().is_root(), asked) {
            (false, _) => Mode::User,
            (true, Some(_)) => Mode::Root,
            (true, None) => return Err(Error::TargetIsRoot),
        };
        if mode == Mode::Root {
            check_own_binary()?;
        }
        let policy = match (Policy::load()?, mode) {
            (Some(policy), _) => policy,
            (None, Mode::User) => Policy::without_file(),
            (None, Mode::Root) => return Err(Error::PolicyMissing),
        };
        Ok(Self { policy, mode })
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Check 3: whether this caller may call root mode; root itself may.
    ///
    /// # Errors
    /// [`Error::CallerNotPermitted`].
    pub fn admit_caller(&self, caller: Caller) -> Result<(), Error> {
        if self.mode == Mode::User || caller.uid.is_root() || self.is_hub_user(caller.uid) {
            return Ok(());
        }
        Err(Error::CallerNotPermitted { uid: caller.uid.as_raw() })
    }

    /// Check 4: resolves the target, once, and decides whether it may have a server.
    ///
    /// # Errors
    /// [`Error::TargetIsRoot`], [`Error::TargetUnknown`], [`Error::TargetMismatch`] and
    /// [`Error::TargetNotPermitted`].
    pub fn admit_target(&self, asked: Option<&str>) -> Result<Target, Error> {
        let account = match self.mode {
            Mode::User => self.resolve_this_process(asked)?,
            Mode::Root => self.resolve_name(asked.unwrap_or_default())?,
        };
        refuse_root(account.uid)?;
        let refused = |reason: &str| {
            let (target, reason) = (account.name.clone(), reason.to_owned());
            Err(Error::TargetNotPermitted { target, reason })
        };
        if account.uid.as_raw() < self.policy.targets.min_uid {
            return refused("its uid is below targets.min_uid");
        }
        let mut groups = Vec::new();
        if self.mode == Mode::Root {
            let targets = &self.policy.targets;
            if self.is_hub_user(account.uid) {
                return refused("it is one of hub_users");
            }
            let Ok(own) = account.list_groups(account.gid) else {
                return refused("its groups cannot be looked up");
            };
            groups = own;
            let mut permitted =
                targets.groups.iter().filter_map(|name| Group::from_name(name).ok()?);
            let is_member = permitted.any(|group| groups.contains(&group.gid));
            if !targets.users.contains(&account.name) && !is_member {
                return refused("it is neither in targets.users nor in one of targets.groups");
            }
            if account.is_closed() && !targets.allow_nologin {
                return refused("its shell lets nobody log in, and targets.allow_nologin is false");
            }
        }
        Ok(Target { account, groups, mode: self.mode })
    }

    fn is_hub_user(&self, uid: Uid) -> bool {
        self.policy
            .hub_users
            .iter()
            .filter_map(|name| Account::by_name(name))
            .any(|account| account.uid == uid)
    }

    fn resolve_this_process(&self, asked: Option<&str>) -> Result<Account, Error> {
        refuse_root(getuid())?;
        let account = Account::of_this_process()?;
        match asked {
            Some(name) if name != account.name => {
                Err(Error::TargetMismatch { asked: name.to_owned(), actual: account.name })
            }
            _ => Ok(account),
        }
    }

    /// By exact name. What getpwnam(3) or a directory might read as something else - a number, an
    /// option, a name with blanks around it - does not get there.
    fn resolve_name(&self, asked: &str) -> Result<Account, Error> {
        let is_name = !asked.is_empty()
            && !asked.starts_with(['-', '#', '+'])
            && !asked.contains(|c: char| c.is_whitespace() || c.is_control() || ":/,".contains(c));
        is_name
            .then(|| Account::by_name(asked))
            .flatten()
            .ok_or_else(|| Error::TargetUnknown { asked: format!("the name {asked:?}") })
    }
}

/// Check 2, of our own binary: whoever can replace it is root already.
fn check_own_binary() -> Result<(), Error> {
    let own: PathBuf = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    match open_trusted(&own) {
        Ok(_) => Ok(()),
        Err(distrust) => Err(Error::BinaryUntrusted(distrust.to_string())),
    }
}

fn refuse_root(uid: Uid) -> Result<(), Error> {
    if uid.is_root() { Err(Error::TargetIsRoot) } else { Ok(()) }
}
