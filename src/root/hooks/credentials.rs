//! Secrets for hooks: a file of root's for each account, of which hooks get a copy in memory.
//!
//! The copy is open in the process that runs the hooks, and closed before a server is started. Hooks know it by a path
//! below `/proc`, which nobody but root can follow: so it is inherited by nothing, and reaches whatever a hook starts.

use std::fs::{File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::Pid;

use crate::trusted_file::{Distrust, TrustedDirectory};

/// The file for accounts that have none of their own.
const DEFAULT: &str = "default";

/// The copy.
pub struct Credentials(File);

impl Credentials {
    /// Copies the file that is named for the account, or else the default; `None` if there is neither.
    ///
    /// # Errors
    /// Why it is refused: others than root could read or write it, or the directory is missing.
    pub fn copy(directory: &Path, user: &str) -> Result<Option<Self>, String> {
        let explain = |distrust: Distrust| distrust.to_string();
        let opened = TrustedDirectory::open(directory).map_err(explain)?;
        let mut file = match opened.open_secret(Path::new(user)) {
            Err(Distrust::Missing(_)) => match opened.open_secret(Path::new(DEFAULT)) {
                Err(Distrust::Missing(_)) => return Ok(None),
                default => default,
            },
            own => own,
        }
        .map_err(explain)?;
        let unusable = |reason: &dyn ToString| format!("no copy in memory: {}", reason.to_string());
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let copy = memfd_create("credentials", flags).map_err(|errno| unusable(&errno))?;
        let mut copy = File::from(copy);
        // In the kernel: no memory of this process, which a server is forked from, ever has the secret.
        std::io::copy(&mut file, &mut copy)
            // s3fs and others refuse a file that is open to all.
            .and_then(|_| copy.set_permissions(Permissions::from_mode(0o600)))
            .map_err(|error| unusable(&error))?;
        fcntl(&copy, FcntlArg::F_ADD_SEALS(SealFlag::all())).map_err(|errno| unusable(&errno))?;
        Ok(Some(Self(copy)))
    }

    /// The variable that tells hooks where it is.
    #[must_use]
    pub fn to_variable(&self) -> Vec<u8> {
        let number = self.0.as_raw_fd();
        format!("SUDOSPAWNER_CREDENTIALS=/proc/{}/fd/{number}", Pid::this()).into_bytes()
    }
}
