//! Looking as another account: root becomes it for good, in this process or in one of its own.

use std::fs::File;
use std::io::{Read, Write};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{
    ForkResult, Uid, getgrouplist, getresuid, pipe2, setgroups, setresgid, setresuid,
};

use super::finding::Finding;
use crate::account::Account;
use crate::system_calls;

/// Makes this process, which is root, an ordinary account for good: its groups, its gid, its uid, no
/// capabilities. sudo goes on to work, since `no_new_privs` is not set.
///
/// # Errors
/// A sentence if anything of that fails, or if root can be regained.
pub fn become_account(account: &Account) -> Result<(), String> {
    if account.uid.is_root() {
        return Err(format!("{} is root", account.name));
    }
    change_ids(account).map_err(|errno| format!("cannot become {}: {errno}", account.name))?;
    let root = Uid::from_raw(0);
    let uids = getresuid().map_err(|errno| errno.to_string())?;
    let is_account = [uids.real, uids.effective, uids.saved] == [account.uid; 3];
    if !is_account || setresuid(root, root, root) != Err(Errno::EPERM) {
        return Err(format!("could not become {} for good", account.name));
    }
    Ok(())
}

fn change_ids(account: &Account) -> Result<(), Errno> {
    let name = std::ffi::CString::new(account.name.as_str()).map_err(|_| Errno::EINVAL)?;
    let groups = getgrouplist(&name, account.gid)?;
    system_calls::join_new_session_keyring()?;
    // Groups before the gid, and both before the uid: each step needs what the next gives up.
    setgroups(&groups)?;
    setresgid(account.gid, account.gid, account.gid)?;
    setresuid(account.uid, account.uid, account.uid)?;
    system_calls::drop_capabilities()
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
