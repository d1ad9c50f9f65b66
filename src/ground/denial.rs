//! What the part of this program that runs as root can refuse or fail to do.
//!
//! Here a refusal is data. `sentences` has what people read. A process that is the target or nobody prints
//! it, as it prints everything else: see `target::error`.

pub mod distrust;
mod sentences;

use std::path::PathBuf;

use nix::errno::Errno;

/// The path of the policy file. It is fixed at compile time, never taken from argv, environment or request.
pub const POLICY_PATH: &str = "/etc/sudospawner/policy.toml";

/// Why root did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// It is unknown who called.
    CallerUnknown(String),
    /// The caller may not call root mode.
    CallerNotPermitted {
        /// Who called.
        uid: u32,
    },
    /// Root mode has no policy file.
    PolicyMissing,
    /// Accounts other than root could have written the policy file.
    PolicyUntrusted(String),
    /// The target cannot read the policy file. In user mode this process is the target's.
    PolicyUnreadable {
        /// The file or directory.
        path: PathBuf,
        /// What open(2) said.
        errno: Errno,
    },
    /// The policy file has a mistake.
    PolicyMalformed {
        /// The file.
        path: PathBuf,
        /// Line and key.
        reason: String,
    },
    /// Accounts other than root could replace our own binary.
    BinaryUntrusted(String),
    /// Our own binary has a setuid or setgid bit.
    BinarySetuid,
    /// The account database does not answer.
    AccountTimeout,
    /// There is no such account.
    TargetUnknown {
        /// The name or uid that was looked up.
        asked: String,
    },
    /// There is no such account, and none could be made.
    AccountNotCreated {
        /// The name.
        name: String,
        /// What prevented it.
        reason: String,
    },
    /// There is no such account, and so many were made in the last minute that none is made now.
    AccountsTooMany {
        /// The name.
        name: String,
        /// How many a minute the policy allows.
        per_minute: u8,
    },
    /// The policy does not let this account have a server.
    TargetNotPermitted {
        /// The account.
        target: String,
        /// Which rule says so.
        reason: String,
    },
    /// A hook failed, and the policy says that this matters.
    HookFailed {
        /// The hook.
        name: String,
    },
    /// Hooks of another server of the account have run for too long to wait for them.
    HooksBusy {
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// PAM has not opened a session for the target.
    PamFailed {
        /// The step that failed.
        step: String,
        /// What libpam and its modules say.
        reason: String,
    },
    /// The server name is longer than a unit or file name can hold.
    ServerNameTooLong,
    /// The unit of a server exists, and its name cannot be made free.
    AlreadyRunning {
        /// The unit.
        unit: String,
        /// Why it was left as it is.
        reason: String,
    },
    /// A limit of a server as a whole was set, and the kernel does not hold the server to it.
    LimitNotHeld {
        /// Its key in the policy.
        limit: &'static str,
    },
    /// The launcher that the policy names does not work here.
    LauncherUnavailable(String),
    /// uid 0 is never a target.
    TargetIsRoot,
    /// The first line of a call through the socket is not of its form.
    LineMalformed(&'static str),
    /// The caller has too many calls through the socket at once.
    TooManyCalls,
    /// A server beside the Hub would live in the unit of the door, which accepts calls through the socket.
    LauncherBesideDoor,
    /// Ids or capabilities are left that would let the server become someone else.
    PrivilegesLeft(String),
    /// A system call failed while a server was being started.
    LaunchFailed {
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// Nobody reads the reply any more, so the server that was started has been ended.
    CallerGone,
}

impl Denial {
    /// For `map_err`: a system call failed while a server was being started.
    pub fn at(step: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::LaunchFailed { step, errno }
    }

    /// Code and exit status; see `target::error::Error::classify`.
    #[must_use]
    pub fn classify(&self) -> (&'static str, u8) {
        match self {
            Self::CallerUnknown(_) => ("caller_unknown", 1),
            Self::CallerNotPermitted { .. } => ("caller_not_permitted", 1),
            Self::PolicyMissing => ("policy_missing", 1),
            Self::PolicyUntrusted(_) => ("policy_untrusted", 1),
            Self::PolicyUnreadable { .. } => ("policy_unreadable", 1),
            Self::PolicyMalformed { .. } => ("policy_malformed", 1),
            Self::BinaryUntrusted(_) => ("binary_untrusted", 1),
            Self::BinarySetuid => ("binary_setuid", 1),
            Self::AccountTimeout => ("account_timeout", 0),
            Self::TargetUnknown { .. } => ("target_unknown", 1),
            Self::AccountNotCreated { .. } => ("account_not_created", 0),
            Self::AccountsTooMany { .. } => ("accounts_too_many", 0),
            Self::TargetNotPermitted { .. } => ("target_not_permitted", 1),
            Self::HookFailed { .. } => ("hook_failed", 0),
            Self::HooksBusy { .. } => ("hooks_busy", 0),
            Self::PamFailed { .. } => ("pam_failed", 0),
            Self::ServerNameTooLong => ("server_name_too_long", 1),
            Self::AlreadyRunning { .. } => ("already_running", 0),
            Self::LimitNotHeld { .. } => ("limit_not_enforceable", 1),
            Self::LauncherUnavailable(_) | Self::LauncherBesideDoor => ("launcher_unavailable", 0),
            Self::LineMalformed(_) => ("malformed_request", 1),
            Self::TooManyCalls => ("too_many_calls", 0),
            Self::TargetIsRoot => ("target_is_root", 1),
            Self::PrivilegesLeft(_) => ("privileges_left", 1),
            Self::LaunchFailed { .. } => ("launch_failed", 0),
            Self::CallerGone => ("caller_gone", 0),
        }
    }
}
