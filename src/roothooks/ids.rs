//! Gives up root in a container, where ids may have no account and capabilities may be missing.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, geteuid};

use ground::denial::Denial;
use ground::system_calls;
use root::account::Account;
use root::hooks::Prepared;
use root::privileges::{Unprivileged, change_ids, failed, prove};

/// The ids that a process should have. In a container they may have no account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// The uid.
    pub uid: Uid,
    /// The primary group, which may differ from the account's.
    pub gid: Gid,
    /// The uid's account. The process gets the account's supplementary groups, or none without an account.
    pub account: Option<Account>,
    /// Groups that it gets beside those.
    pub further: Vec<Gid>,
}

impl Ids {
    /// Looks up the uid's account, if there is one.
    #[must_use]
    pub fn look_up(uid: Uid, gid: Gid, further: &[Gid]) -> Self {
        Self { uid, gid, account: Account::by_uid(uid), further: further.to_vec() }
    }
}

/// Whether programs executed later may gain privileges by setuid bits and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escalation {
    /// They may: sudo works.
    Allowed,
    /// They may not.
    Forbidden,
}

/// Takes the ids of a container's command by giving up everything else. A process that is not root must
/// already have the uid, and keeps its groups.
///
/// # Errors
/// [`Denial::PrivilegesLeft`] as for [`root::privileges::become_target`]. A container without CAP_SETUID or
/// CAP_SETGID cannot give up root.
pub fn take_ids(
    prepared: Prepared<Ids>,
    escalation: Escalation,
) -> Result<Unprivileged<Ids>, Denial> {
    let ids = prepared.into_inner();
    if escalation == Escalation::Forbidden {
        forbid_escalation()?;
    }
    if geteuid().is_root() {
        let account = ids.account.as_ref();
        let groups = account.map_or(Ok(Vec::new()), |account| account.list_groups(ids.gid));
        let mut groups = groups.map_err(failed("getgrouplist"))?;
        groups.extend(&ids.further);
        change_ids(ids.uid, ids.gid, &groups)?;
    } else {
        system_calls::drop_capabilities().map_err(failed("dropping capabilities"))?;
    }
    let uid = ids.uid;
    prove(ids, uid)
}

fn forbid_escalation() -> Result<(), Denial> {
    match system_calls::empty_bounding_set() {
        Err(Errno::EPERM) => {
            log::info!("without CAP_SETPCAP the bounding set stays; no_new_privs has to do");
        }
        result => result.map_err(failed("emptying the bounding set"))?,
    }
    prctl::set_no_new_privs().map_err(failed("no_new_privs"))
}
