//! User mode: sudoers has decided who may act for whom, and sudo has made this process the target.

use ground::denial::Denial;
use nix::unistd::{Gid, getuid};
use root::account::Account;
use root::policy::check_account;
use root::policy::file::{Launcher, Limits, Policy};
use root::privileges::{
    Unprivileged, check_groups, close, leave_keyring_of_caller, prove, set_limits,
};

use crate::error::Error;

/// Finds out which account we are, and whether it may have a server. `asked` is the value of `--user`.
///
/// # Errors
/// A mistake in the policy file, [`Denial::TargetIsRoot`], [`Denial::TargetUnknown`],
/// [`Error::TargetMismatch`], [`Denial::TargetNotPermitted`] and [`Denial::PrivilegesLeft`].
pub fn admit(asked: Option<&str>) -> Result<(Policy, Unprivileged), Error> {
    let policy = Policy::load()?.unwrap_or_else(make_default_policy);
    // sudo -P keeps the caller's groups.
    admit_under(policy, asked, |account, groups| check_groups(account.gid, groups))
}

/// The same for a job on its node, where Slurm has made this process the target.
///
/// # Errors
/// Those of [`admit`] but for a mistake in the policy file.
pub fn admit_in_job(policy: Policy) -> Result<(Policy, Unprivileged), Error> {
    admit_under(policy, None, |_, _| Ok(()))
}

fn admit_under(
    policy: Policy,
    asked: Option<&str>,
    check: impl FnOnce(&Account, &[Gid]) -> Result<(), Denial>,
) -> Result<(Policy, Unprivileged), Error> {
    let policy = leave_out_root(policy);
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
    let groups = check_account(&account, &policy.targets, None)?;
    set_limits(&policy.limits)?;
    leave_keyring_of_caller()?;
    check(&account, &groups)?;
    close(&policy)?;
    Ok((policy, prove(account, uid)?))
}

/// The part of the policy that applies without root: no units, and no limits except that of open files.
fn leave_out_root(mut policy: Policy) -> Policy {
    if policy.server.launcher == Launcher::Systemd {
        policy.server.launcher = Launcher::Process;
    }
    policy.limits = Limits { open_files: policy.limits.open_files, ..Limits::default() };
    policy
}

/// The policy if there is no file: the behaviour of the Python sudospawner.
#[must_use]
pub fn make_default_policy() -> Policy {
    let mut policy = Policy::default();
    policy.targets.min_uid = 1;
    policy.server.umask = None;
    policy.environment.remove = vec!["PYTHONPATH".to_owned()];
    policy.limits.open_files = None;
    policy
}
