//! Proves that this process can do no more than its target.

use nix::errno::Errno;
use nix::unistd::{Uid, getresgid, getresuid, setresuid};

use crate::account::Account;
use crate::error::Error;
use crate::policy::Grant;
use crate::request::Request;

/// The proof that this process is its target and cannot become root again. Everything that touches
/// the target's files or processes asks for it.
#[derive(Debug)]
#[must_use]
pub struct Unprivileged {
    target: Account,
}

impl Unprivileged {
    /// The account that this process is.
    #[must_use]
    pub fn target(&self) -> &Account {
        &self.target
    }
}

/// Uses up the grant of a request and proves that we are its target and nothing else.
///
/// The proof ends, as OpenSSH's `permanently_set_uid` does, with an attempt to become root, which
/// has to fail: capabilities that a file or an ambient set gave us would show here.
///
/// # Errors
/// [`Error::PrivilegesLeft`] if one of our uids is another account's, if the set gids differ, or
/// if root can be regained.
pub fn confirm_unprivileged(grant: Grant) -> Result<(Unprivileged, Request), Error> {
    let (target, request) = grant.into_parts();
    let left = |what: &str| Err(Error::PrivilegesLeft(what.to_owned()));
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
    Ok((Unprivileged { target }, request))
}
