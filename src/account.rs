//! Who is who: accounts as NSS knows them (files, LDAP, SSSD), and who called.

use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User, getuid};

use crate::error::Error;

/// An account of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: Uid,
    /// Its primary group.
    pub gid: Gid,
    /// Its home directory; nothing is known of whether it exists.
    pub home: PathBuf,
}

impl Account {
    /// The account that this process runs as.
    ///
    /// # Errors
    /// [`Error::TargetUnknown`] if the account database has no entry for our real uid.
    pub fn of_this_process() -> Result<Self, Error> {
        Self::by_uid(getuid()).ok_or(Error::TargetUnknown { uid: getuid().as_raw() })
    }

    fn by_uid(uid: Uid) -> Option<Self> {
        let user = User::from_uid(uid).ok()??;
        Some(Self { name: user.name, uid: user.uid, gid: user.gid, home: user.dir })
    }
}

/// The account that called us, for the audit line; in user mode it is no proof, since whoever may
/// run us as the target may set the environment as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Its uid.
    pub uid: Uid,
}

impl Caller {
    /// Reads who called: `SUDO_UID` as sudo sets it, or nobody but ourselves without sudo.
    ///
    /// # Errors
    /// [`Error::CallerUnknown`] if `SUDO_UID` is no uid, or if doas or pkexec called, which say
    /// other things in other words.
    pub fn identify() -> Result<Self, Error> {
        for foreign in ["DOAS_USER", "PKEXEC_UID"] {
            if std::env::var_os(foreign).is_some() {
                return Err(Error::CallerUnknown(format!(
                    "{foreign} is set; call this program through sudo or sudo-rs"
                )));
            }
        }
        match std::env::var_os("SUDO_UID") {
            None => Ok(Self { uid: getuid() }),
            Some(value) => value
                .to_str()
                .and_then(parse_uid)
                .map(|uid| Self { uid })
                .ok_or_else(|| Error::CallerUnknown("SUDO_UID is no uid".to_owned())),
        }
    }
}

/// A uid in decimal digits alone; 2^32-1 stands for "no uid" in the kernel's calls and is none.
fn parse_uid(text: &str) -> Option<Uid> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|uid| *uid != u32::MAX).map(Uid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_decimal_digits_and_nothing_else() {
        assert_eq!(parse_uid("0"), Some(Uid::from_raw(0)));
        assert_eq!(parse_uid("1000"), Some(Uid::from_raw(1000)));
        for wrong in ["", "-1", "+1", " 1", "1 ", "0x1", "1e3", "4294967295", "4294967296"] {
            assert_eq!(parse_uid(wrong), None, "{wrong:?}");
        }
    }
}
