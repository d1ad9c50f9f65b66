//! Gives up root for good, and proves that this process can do no more than its target (check 7).

pub mod container;
pub mod lowered;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::Resource;
use nix::unistd::{Gid, Uid, getgid, getgroups, getresgid, getresuid, getuid};
use nix::unistd::{setgroups, setresgid, setresuid};

use crate::account::Account;
use crate::denial::Denial;
use crate::hooks::Prepared;
use crate::policy::authority::{Authority, ProcessLimits, find_resource};
use crate::policy::{Mode, Target};
use crate::system_calls::{self, afresh::set_limit};

/// The proof that this process is its target, or has the ids of a container's command, and cannot
/// become root again. Everything that touches the target's files or processes asks for it.
#[derive(Debug)]
#[must_use]
pub struct Unprivileged<W = Target> {
    whom: W,
}

impl Unprivileged {
    /// The account that this process is.
    #[must_use]
    pub fn target(&self) -> &Account {
        self.whom.account()
    }

    /// How we were called for it.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.whom.mode()
    }
}

/// Makes this process root in every respect: `sudo -P` leaves the groups of whoever called, and a setuid bit, as
/// `jsd-helper` may have, the real uid, by which the caller could signal what runs here.
///
/// # Errors
/// What the kernel says.
pub fn become_wholly_root() -> Result<(), Errno> {
    let (root, group) = (Uid::from_raw(0), Gid::from_raw(0));
    setgroups(&[group])?;
    setresgid(group, group, group)?;
    setresuid(root, root, root)
}

/// Becomes the target: in root mode by giving up everything else, in user mode by finding that sudo
/// has. The server's limits are set on the way, while they can still be raised.
///
/// # Errors
/// [`Denial::PrivilegesLeft`] if anything of that fails, or if root can be regained.
pub fn become_target(prepared: Prepared, authority: &Authority) -> Result<Unprivileged, Denial> {
    let target = prepared.into_inner();
    set_limits(&authority.limits, target.mode())?;
    let escalation_is_forbidden = authority.server.no_new_privileges;
    let Account { uid, gid, .. } = *target.account();
    if target.mode() == Mode::Root {
        if escalation_is_forbidden {
            system_calls::empty_bounding_set().map_err(failed("emptying the bounding set"))?;
        }
        change_ids(uid, gid, target.groups())?;
    } else {
        leave_keyring_of_caller()?;
        // sudo -P leaves the groups of whoever called.
        check_groups(gid, target.groups())?;
    }
    if escalation_is_forbidden {
        prctl::set_no_new_privs().map_err(failed("no_new_privs"))?;
    }
    system_calls::close_to_own_account();
    prove(uid)?;
    Ok(Unprivileged { whom: target })
}

/// Takes these ids alone, and no capability.
fn change_ids(uid: Uid, gid: Gid, groups: &[Gid]) -> Result<(), Denial> {
    leave_keyring_of_caller()?;
    // Groups before the gid, and both before the uid: each step needs what the next gives up.
    setgroups(groups).map_err(failed("setgroups"))?;
    setresgid(gid, gid, gid).map_err(failed("setresgid"))?;
    setresuid(uid, uid, uid).map_err(failed("setresuid"))?;
    system_calls::drop_capabilities().map_err(failed("dropping capabilities"))?;
    check_groups(gid, groups)
}

fn leave_keyring_of_caller() -> Result<(), Denial> {
    system_calls::join_new_session_keyring().map_err(failed("a session keyring"))
}

/// Finds no group in this process but these.
fn check_groups(gid: Gid, groups: &[Gid]) -> Result<(), Denial> {
    let had = getgroups().map_err(failed("getgroups"))?;
    match had.into_iter().chain([getgid()]).find(|one| *one != gid && !groups.contains(one)) {
        Some(foreign) => {
            Err(Denial::PrivilegesLeft(format!("the group {foreign}, which is not the target's")))
        }
        None => Ok(()),
    }
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

/// Becomes nobody, for a call that is refused before there is a target: what is left to do is to say so.
///
/// # Errors
/// What the kernel says.
pub fn become_nobody() -> Result<(), Denial> {
    const NOBODY: u32 = 65534;
    change_ids(Uid::from_raw(NOBODY), Gid::from_raw(NOBODY), &[])
}

/// Finds nothing that could be regained, and ends, as OpenSSH's `permanently_set_uid` does, with an
/// attempt to become root, which has to fail.
fn prove(uid: Uid) -> Result<(), Denial> {
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
    Ok(())
}

/// Sets what each process of the server may use. A limit that stays lower is the stricter one, and
/// [`lowered`] says so.
fn set_limits(limits: &ProcessLimits, mode: Mode) -> Result<(), Denial> {
    list_wanted(limits, mode)
        .into_iter()
        .try_for_each(|(resource, value)| set_limit(resource, value, value))
        .map_err(failed("setrlimit"))
}

fn list_wanted(limits: &ProcessLimits, mode: Mode) -> Vec<(Resource, u64)> {
    let mut wanted: Vec<(Resource, u64)> = Vec::new();
    if mode == Mode::Root {
        let further = limits.rlimits.iter();
        wanted.extend(further.filter_map(|(name, value)| Some((find_resource(name)?, *value))));
    }
    wanted.extend(limits.open_files.map(|files| (Resource::RLIMIT_NOFILE, files)));
    wanted
}

fn failed(step: &'static str) -> impl FnOnce(Errno) -> Denial {
    move |errno| Denial::PrivilegesLeft(format!("{step}: {errno}"))
}
