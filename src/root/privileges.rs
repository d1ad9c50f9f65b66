//! Gives up root for good, and proves that this process can do no more than its target (check 7).

use ground::denial::Denial;
use ground::system_calls::{self, afresh::set_limit};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::Resource;
use nix::unistd::{Gid, Uid, getgid, getgroups, getresgid, getresuid, getuid};
use nix::unistd::{setgroups, setresgid, setresuid};

use crate::account::{Account, NOBODY};
use crate::hooks::Prepared;
use crate::policy::file::{Limits, Policy};
use ground::units::find_resource;

/// The proof that this process is its target, or has the ids of a container's command, and cannot become root
/// again. Everything that touches the target's files or processes requires it. Only [`prove`] makes one.
#[derive(Debug)]
#[must_use]
pub struct Unprivileged<W = Account> {
    whom: W,
}

impl<W> Unprivileged<W> {
    /// The account that this process runs as, or the ids that it has.
    pub fn target(&self) -> &W {
        &self.whom
    }
}

/// Makes this process root in every respect. `sudo -P` keeps the caller's groups. A setuid bit, as
/// `jsd-helper` may have, keeps the real uid, with which the caller could signal what runs here.
///
/// # Errors
/// What the kernel says.
pub fn become_wholly_root() -> Result<(), Errno> {
    let (root, group) = (Uid::from_raw(0), Gid::from_raw(0));
    setgroups(&[group])?;
    setresgid(group, group, group)?;
    setresuid(root, root, root)
}

/// Becomes the target by giving up everything else. The server's limits are set first, while they can still
/// be raised.
///
/// # Errors
/// [`Denial::PrivilegesLeft`] if a step fails, or if root can be regained.
pub fn become_target(prepared: Prepared, policy: &Policy) -> Result<Unprivileged, Denial> {
    leave_keyring_of_caller()?;
    keep_keyring_and_become(prepared, policy)
}

/// The same where a session of PAM's has a keyring of its own.
///
/// # Errors
/// [`Denial::PrivilegesLeft`].
pub fn keep_keyring_and_become(
    prepared: Prepared,
    policy: &Policy,
) -> Result<Unprivileged, Denial> {
    let target = prepared.into_inner();
    set_limits(&policy.limits)?;
    if policy.server.no_new_privileges {
        system_calls::empty_bounding_set().map_err(failed("emptying the bounding set"))?;
    }
    let account = target.account();
    take_ids(account.uid, account.gid, target.groups())?;
    close(policy)?;
    prove(account.clone(), account.uid)
}

/// Closes this process to other processes of its account. If the policy says so, what it executes can gain no
/// privileges.
///
/// # Errors
/// [`Denial::PrivilegesLeft`].
pub fn close(policy: &Policy) -> Result<(), Denial> {
    if policy.server.no_new_privileges {
        prctl::set_no_new_privs().map_err(failed("no_new_privs"))?;
    }
    system_calls::close_to_own_account();
    Ok(())
}

/// Takes only these ids, and no capability.
///
/// # Errors
/// [`Denial::PrivilegesLeft`].
pub fn change_ids(uid: Uid, gid: Gid, groups: &[Gid]) -> Result<(), Denial> {
    leave_keyring_of_caller()?;
    take_ids(uid, gid, groups)
}

fn take_ids(uid: Uid, gid: Gid, groups: &[Gid]) -> Result<(), Denial> {
    // Groups before the gid, and both before the uid: each step needs what a later one gives up.
    setgroups(groups).map_err(failed("setgroups"))?;
    setresgid(gid, gid, gid).map_err(failed("setresgid"))?;
    setresuid(uid, uid, uid).map_err(failed("setresuid"))?;
    system_calls::drop_capabilities().map_err(failed("dropping capabilities"))?;
    check_groups(gid, groups)
}

/// Joins a new session keyring.
///
/// # Errors
/// [`Denial::PrivilegesLeft`].
pub fn leave_keyring_of_caller() -> Result<(), Denial> {
    system_calls::join_new_session_keyring()
        .map_err(failed("a session keyring (for EDQUOT raise kernel.keys.maxkeys)"))
}

/// Checks that this process has no group but these.
///
/// # Errors
/// [`Denial::PrivilegesLeft`].
pub fn check_groups(gid: Gid, groups: &[Gid]) -> Result<(), Denial> {
    let had = getgroups().map_err(failed("getgroups"))?;
    match had.into_iter().chain([getgid()]).find(|one| *one != gid && !groups.contains(one)) {
        Some(foreign) => {
            Err(Denial::PrivilegesLeft(format!("the group {foreign}, which is not the target's")))
        }
        None => Ok(()),
    }
}

/// Becomes an ordinary account with its groups, for good. sudo still works, since `no_new_privs` is not set.
///
/// # Errors
/// [`Denial::TargetIsRoot`] and [`Denial::PrivilegesLeft`].
pub fn become_account(account: &Account) -> Result<(), Denial> {
    let groups = account.list_groups(account.gid).map_err(failed("getgrouplist"))?;
    change_ids(account.uid, account.gid, &groups)?;
    system_calls::close_to_own_account();
    prove((), account.uid).map(drop)
}

/// Takes the real ids, in place of those that a setuid or setgid bit gave.
///
/// # Errors
/// What the kernel says.
pub fn give_back_ids() -> Result<(), Errno> {
    let (uid, gid) = (getuid(), getgid());
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

/// Becomes nobody: neither the caller nor a target can signal or trace this process any more.
///
/// # Errors
/// [`Denial::PrivilegesLeft`].
pub fn become_nobody() -> Result<Unprivileged<()>, Denial> {
    change_ids(Uid::from_raw(NOBODY), Gid::from_raw(NOBODY), &[])?;
    system_calls::close_to_own_account();
    prove((), Uid::from_raw(NOBODY))
}

/// Checks that this process is `uid`, whose account or ids are `whom`, and that nothing can be regained. Like
/// OpenSSH's `permanently_set_uid`, it ends with an attempt to become root, which must fail.
///
/// # Errors
/// [`Denial::TargetIsRoot`] and [`Denial::PrivilegesLeft`].
pub fn prove<W>(whom: W, uid: Uid) -> Result<Unprivileged<W>, Denial> {
    let left = |what: &str| Err(Denial::PrivilegesLeft(what.to_owned()));
    if uid.is_root() {
        return Err(Denial::TargetIsRoot);
    }
    let Ok(uids) = getresuid() else { return left("the uids are unknown") };
    if [uids.real, uids.effective, uids.saved] != [uid; 3] {
        return left("a uid of another account");
    }
    let Ok(gids) = getresgid() else { return left("the gids are unknown") };
    if [gids.effective, gids.saved] != [gids.real; 2] {
        return left("a gid of another group");
    }
    let root = Uid::from_raw(0);
    if setresuid(root, root, root) != Err(Errno::EPERM) {
        return left("root can be regained");
    }
    Ok(Unprivileged { whom })
}

/// Sets the limits for each process of the server. A limit that cannot be raised stays at its lower, stricter
/// value, and `target::lowered` reports it.
///
/// # Errors
/// [`Denial::PrivilegesLeft`].
pub fn set_limits(limits: &Limits) -> Result<(), Denial> {
    list_wanted_limits(limits)
        .into_iter()
        .try_for_each(|(resource, value)| set_limit(resource, value, value))
        .map_err(failed("setrlimit"))
}

/// The limits of setrlimit(2) that the policy sets.
#[must_use]
pub fn list_wanted_limits(limits: &Limits) -> Vec<(Resource, u64)> {
    let named =
        limits.rlimits.iter().filter_map(|(name, value)| Some((find_resource(name)?, *value)));
    named.chain(limits.open_files.map(|files| (Resource::RLIMIT_NOFILE, files))).collect()
}

/// For `map_err`: a step failed.
pub fn failed(step: &'static str) -> impl FnOnce(Errno) -> Denial {
    move |errno| Denial::PrivilegesLeft(format!("{step}: {errno}"))
}
