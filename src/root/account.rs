//! Accounts as NSS knows them (files, LDAP, SSSD), and the caller.

use std::ffi::CString;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist, getuid};

pub use ground::account_name::{is_name, parse_id};
use ground::denial::Denial;
use ground::system_calls;

/// The uid and the gid of nobody, whom no account of a person has.
pub const NOBODY: u32 = 65534;

/// An account of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: Uid,
    /// Its primary group.
    pub gid: Gid,
    /// Its home directory, which may not exist.
    pub home: PathBuf,
    /// Its login shell.
    pub shell: PathBuf,
}

impl Account {
    /// The account with this uid.
    #[must_use]
    pub fn by_uid(uid: Uid) -> Option<Self> {
        User::from_uid(uid).ok()?.map(Self::from)
    }

    /// The account with exactly this name. Some directories ignore case or know an account by several names,
    /// and answer with another name. Such an answer is not accepted.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let found = if is_name(name) { User::from_name(name).ok()? } else { None };
        found.map(Self::from).filter(|account| account.name == name)
    }

    /// All groups of the account, with `gid` as the primary one. This is slow if systemd or a directory has
    /// to be asked.
    ///
    /// # Errors
    /// What the account database says.
    pub fn list_groups(&self, gid: Gid) -> Result<Vec<Gid>, Errno> {
        getgrouplist(&CString::new(self.name.as_str()).map_err(|_| Errno::EINVAL)?, gid)
    }

    /// Whether the account has expired, as pam_unix(8) and `chage --expiredate` define it. Only root can ask.
    /// An account without an entry in the shadow database never expires.
    #[must_use]
    pub fn has_expired(&self) -> bool {
        const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;
        let Ok(name) = CString::new(self.name.as_str()) else { return true };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let today = now.as_secs() / SECONDS_OF_A_DAY;
        system_calls::find_day_of_expiry(&name).is_some_and(|day| today >= day)
    }

    /// Whether the login shell lets nobody in, like nologin(8) and false(1).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shell.file_name().is_some_and(|name| name == "nologin" || name == "false")
    }
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self { name: user.name, uid: user.uid, gid: user.gid, home: user.dir, shell: user.shell }
    }
}

/// The account that called us. In user mode this proves nothing: whoever may run us as the target may also
/// set the environment. In root mode it is sudo's or the kernel's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its uid.
    pub uid: Uid,
    /// Its name, for the log: only what is known without a look-up.
    pub name: Option<String>,
    /// How it called.
    pub way: Way,
}

/// How a caller has called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By a command line, through sudo or as itself.
    Command,
    /// Through the socket: [`crate::connection`].
    Socket,
}

/// The variables that programs other than sudo (doas, pkexec) set to say who called.
const FOREIGN: [&str; 2] = ["DOAS_USER", "PKEXEC_UID"];

/// Whether this process is root's own. If sudo or the like made it root for somebody, one of their variables is left.
#[must_use]
pub fn is_roots_own() -> bool {
    let is_left = |name| std::env::var_os(name).is_some();
    let is_root = getuid().is_root() && geteuid().is_root();
    is_root && !FOREIGN.into_iter().chain(["SUDO_UID"]).any(is_left)
}

impl Caller {
    /// Root, which nobody has called.
    pub const ROOT: Self = Self { uid: Uid::from_raw(0), name: None, way: Way::Command };

    /// Reads who called: `SUDO_UID` and `SUDO_USER` as sudo sets them. Without, only we ourselves have called.
    ///
    /// # Errors
    /// [`Denial::CallerUnknown`] if `SUDO_UID` is no uid, or if doas or pkexec called, which use other
    /// variables with other meanings.
    pub fn identify() -> Result<Self, Denial> {
        let unknown = |reason: String| Denial::CallerUnknown(reason);
        if let Some(foreign) = FOREIGN.iter().find(|name| std::env::var_os(name).is_some()) {
            let reason = format!("{foreign} is set; call this program through sudo or sudo-rs");
            return Err(unknown(reason));
        }
        let Some(word) = std::env::var_os("SUDO_UID") else {
            return Ok(Self { uid: getuid(), name: None, way: Way::Command });
        };
        let uid = word.to_str().and_then(parse_id).map(Uid::from_raw);
        let name = std::env::var("SUDO_USER").ok();
        uid.map(|uid| Self { uid, name, way: Way::Command })
            .ok_or_else(|| unknown("SUDO_UID is no uid".to_owned()))
    }
}

impl Display for Caller {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}({})", self.uid),
            None => write!(f, "{}", self.uid),
        }
    }
}
