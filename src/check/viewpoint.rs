//! Looking as another account: root becomes it for good, in this process or in one of its own.

use std::fs::File;
use std::io::{Read, Write};

use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, pipe2};

use super::finding::Finding;
use crate::account::Account;
use crate::hooks::Prepared;
use crate::privileges::container::{Escalation, Ids, take_ids};
use crate::system_calls;

/// Makes this process, which is root, an ordinary account for good. sudo goes on to work, since
/// `no_new_privs` is not set.
///
/// # Errors
/// A sentence if anything of that fails, or if root can be regained.
pub fn become_account(account: &Account) -> Result<(), String> {
    if account.uid.is_root() {
        return Err(format!("{} is root", account.name));
    }
    let ids = Ids { uid: account.uid, gid: account.gid, account: Some(account.clone()) };
    take_ids(Prepared::without_hooks(ids), Escalation::Allowed)
        .map(drop)
        .map_err(|denial| format!("cannot become {}: {denial}", account.name))
}

/// Looks as this account, in a process that has become it; root alone can. `None` if that did not work.
pub fn look_as(account: &Account, look: impl FnOnce() -> Vec<Finding>) -> Option<Vec<Finding>> {
    let (output, input) = pipe2(OFlag::O_CLOEXEC).ok()?;
    match system_calls::fork().ok()? {
        ForkResult::Child => {
            drop(output);
            if become_account(account).is_ok() {
                let text = serde_json::to_vec(&look()).unwrap_or_default();
                let _ = File::from(input).write_all(&text);
            }
            system_calls::exit_now(0)
        }
        ForkResult::Parent { child } => {
            drop(input);
            let mut text = Vec::new();
            let _ = File::from(output).read_to_end(&mut text);
            let _ = waitpid(child, None);
            serde_json::from_slice(&text).ok()
        }
    }
}
