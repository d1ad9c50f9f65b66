//! User mode: sudoers has decided who may act for whom, and sudo made this process the target.

use nix::unistd::getuid;

use super::authority::{Authority, Powers, ProcessLimits};
use super::file::Policy;
use super::{Mode, Target, check_account, list_groups};
use crate::account::Account;
use crate::denial::Denial;
use crate::error::Error;

/// Finds out who we are, and whether that account may have a server. `asked` is the value of `--user`.
///
/// # Errors
/// What is wrong with a policy file that is there, [`Denial::TargetIsRoot`], [`Denial::TargetUnknown`],
/// [`Error::TargetMismatch`] and [`Denial::TargetNotPermitted`].
pub fn admit(asked: Option<&str>) -> Result<(Target, Policy), Error> {
    let policy = Policy::load()?.unwrap_or_else(Policy::without_file);
    let uid = getuid();
    if uid.is_root() {
        return Err(Denial::TargetIsRoot.into());
    }
    let account = Account::by_uid(uid);
    let account = account.ok_or_else(|| Denial::TargetUnknown { asked: format!("uid {uid}") })?;
    match asked {
        Some(name) if name != account.name => {
            return Err(Error::TargetMismatch { asked: name.to_owned(), actual: account.name });
        }
        _ => {}
    }
    check_account(&account, policy.targets.min_uid)?;
    let groups = list_groups(&account)?;
    Ok((Target { account, groups, mode: Mode::User }, policy))
}

impl Policy {
    /// What applies where there is no file: the behaviour of the Python sudospawner.
    #[must_use]
    pub fn without_file() -> Self {
        let mut policy = Self::default();
        policy.targets.min_uid = 1;
        policy.server.umask = None;
        policy.environment.remove = vec!["PYTHONPATH".to_owned()];
        policy.limits.open_files = None;
        policy
    }

    /// The part that root reads in root mode.
    #[must_use]
    pub fn authority(&self) -> Authority {
        let Self { hub_users, targets, hooks, server, limits, .. } = self.clone();
        Authority {
            hub_users,
            targets,
            hooks,
            server: Powers {
                launcher: server.launcher,
                no_new_privileges: server.no_new_privileges,
            },
            limits: ProcessLimits { open_files: limits.open_files, rlimits: limits.rlimits },
            ..Authority::default()
        }
    }
}
