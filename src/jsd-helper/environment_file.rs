//! The server's variables, which the Hub writes to a file that systemd reads.
//!
//! systemd would open that file as root, even if it is a link to something else. So this program opens it,
//! with only the caller's rights, and systemd reads a copy in memory. Then the file is removed: otherwise the
//! tokens in it would stay as long as the server.

use std::error::Error;
use std::fs::{File, OpenOptions, remove_file};
use std::io::{Read, Write};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Uid, setegid, seteuid, setgroups};

use root::account::{Account, Caller};
use root::privileges::become_wholly_root;

/// No program can be executed with more variables than fit into this.
const MAX_BYTES: u64 = 4 << 20;

/// Copies the caller's file into memory and removes the file. Returns the path at which systemd can read the
/// copy while this process, or what it executes, is running.
///
/// # Errors
/// If the caller cannot read the file, or if it is not a regular file.
pub fn hold_environment_file(path: &str, caller: &Caller) -> Result<String, Box<dyn Error>> {
    borrow_rights(caller).map_err(|errno| format!("becoming the caller: {errno}"))?;
    let content = read_and_remove(path);
    let regained = seteuid(Uid::from_raw(0)).and_then(|()| become_wholly_root());
    regained.map_err(|errno| format!("becoming root again: {errno}"))?;
    // The copy has no name in the file system and no close-on-exec flag. So it stays open in systemd-run,
    // which waits until the unit has started.
    let mut memory = File::from(memfd_create("environment", MFdFlags::empty())?);
    memory.write_all(&content?)?;
    Ok(format!("/proc/{}/fd/{}", std::process::id(), memory.into_raw_fd()))
}

fn read_and_remove(path: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    // Non-blocking, because opening a pipe would wait for its other end.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err("it is not a regular file".into());
    }
    let mut content = Vec::new();
    file.take(MAX_BYTES.saturating_add(1)).read_to_end(&mut content)?;
    if let Err(error) = remove_file(path) {
        log::warn!("{path} stays, with all that is in it: {error}");
    }
    if content.len() as u64 > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes").into());
    }
    Ok(content)
}

/// Takes the caller's uid and groups for the kernel's checks. The real uid stays root, so that the caller can
/// neither trace nor signal this process.
fn borrow_rights(caller: &Caller) -> Result<(), Errno> {
    let account = Account::by_uid(caller.uid).ok_or(Errno::ESRCH)?;
    setgroups(&account.list_groups(account.gid)?)?;
    setegid(account.gid)?;
    seteuid(account.uid)
}
