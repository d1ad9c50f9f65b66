//! Gives up root for good, and proves that this process can do no more than its target (check 7).

use std::ffi::CString;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, getgrouplist, getgroups, getresgid, getresuid};
use nix::unistd::{initgroups, setresgid, setresuid};

use crate::account::Account;
use crate::error::Error;
use crate::hooks::Prepared;
use crate::policy::Mode;
use crate::policy::file::{Policy, find_resource};
use crate::system_calls;

/// The proof that this process is its target and cannot become root again. Everything that touches
/// the target's files or processes asks for it.
#[derive(Debug)]
#[must_use]
pub struct Unprivileged {
    target: Account,
    mode: Mode,
}

impl Unprivileged {
    /// The account that this process is.
    #[must_use]
    pub fn target(&self) -> &Account {
        &self.target
    }

    /// How we were called for it.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

/// Becomes the target: in root mode by giving up everything else, in user mode by finding that sudo
/// has. The server's limits are set on the way, while they can still be raised.
///
/// # Errors
/// [`Error::PrivilegesLeft`] if anything of that fails, or if root can be regained.
pub fn become_target(prepared: Prepared, policy: &Policy) -> Result<Unprivileged, Error> {
    let (target, mode) = (prepared.target().account().clone(), prepared.target().mode());
    set_limits(policy, mode)?;
    if policy.server.no_new_privileges {
        if mode == Mode::Root {
            system_calls::empty_bounding_set().map_err(failed("emptying the bounding set"))?;
        }
        prctl::set_no_new_privs().map_err(failed("no_new_privs"))?;
    }
    if mode == Mode::Root {
        change_ids(&target)?;
    }
    prove(&target)?;
    Ok(Unprivileged { target, mode })
}

fn change_ids(target: &Account) -> Result<(), Error> {
    let name = CString::new(target.name.as_str());
    let name = name.map_err(|_| Error::PrivilegesLeft("the name".to_owned()))?;
    system_calls::join_new_session_keyring().map_err(failed("a session keyring"))?;
    // Groups before the gid, and both before the uid: each step needs what the next gives up.
    initgroups(&name, target.gid).map_err(failed("initgroups"))?;
    setresgid(target.gid, target.gid, target.gid).map_err(failed("setresgid"))?;
    setresuid(target.uid, target.uid, target.uid).map_err(failed("setresuid"))?;
    system_calls::drop_capabilities().map_err(failed("dropping capabilities"))?;
    let expected = getgrouplist(&name, target.gid).map_err(failed("getgrouplist"))?;
    let groups = getgroups().map_err(failed("getgroups"))?;
    if groups.iter().any(|group: &Gid| !expected.contains(group)) {
        return Err(Error::PrivilegesLeft("a group that is not the target's".to_owned()));
    }
    Ok(())
}

/// Finds nothing that could be regained, and ends, as OpenSSH's `permanently_set_uid` does, with an
/// attempt to become root, which has to fail.
fn prove(target: &Account) -> Result<(), Error> {
    let left = |what: &str| Err(Error::PrivilegesLeft(what.to_owned()));
    if target.uid.is_root() {
        return Err(Error::TargetIsRoot);
    }
    let Ok(uids) = getresuid() else { return left("the uids are unknown") };
    if [uids.real, uids.effective, uids.saved] != [target.uid; 3] {
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

/// Sets what each process of the server may use. What only a hard limit could raise, and may not be
/// raised here (without privilege, or in a container without CAP_SYS_RESOURCE), stays at that limit: it
/// is the stricter one.
fn set_limits(policy: &Policy, mode: Mode) -> Result<(), Error> {
    let mut wanted: Vec<(Resource, u64)> = Vec::new();
    if mode == Mode::Root {
        let further = policy.limits.rlimits.iter();
        wanted.extend(further.filter_map(|(name, value)| Some((find_resource(name)?, *value))));
    }
    wanted.extend(policy.limits.open_files.map(|files| (Resource::RLIMIT_NOFILE, files)));
    for (resource, value) in wanted {
        let (_, hard) = getrlimit(resource).map_err(failed("getrlimit"))?;
        match setrlimit(resource, value, value) {
            Err(Errno::EPERM) if value > hard => {
                log::warn!("{resource:?} stays at {hard}: it cannot be raised to {value} here");
                setrlimit(resource, hard, hard).map_err(failed("setrlimit"))?;
            }
            result => result.map_err(failed("setrlimit"))?,
        }
    }
    Ok(())
}

fn failed(step: &'static str) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::PrivilegesLeft(format!("{step}: {errno}"))
}
