//! What the part of this program that is root can refuse, or fail to do.
//!
//! Everything else is said by a process that is the target: see [`crate::error`].

use std::path::PathBuf;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why root did not do what was asked.
#[derive(Debug, Error)]
pub enum Denial {
    /// Who called cannot be told.
    #[error("the caller is unknown: {0}")]
    CallerUnknown(String),
    /// The caller may not call root mode.
    #[error(
        "the account with uid {uid} may not call root mode: add it to hub_users in the policy if it is the Hub's"
    )]
    CallerNotPermitted {
        /// Who called.
        uid: u32,
    },
    /// Root mode without a policy file.
    #[error("root mode needs the policy file {}", crate::policy::file::PATH)]
    PolicyMissing,
    /// Others than root could have written the policy file.
    #[error("the policy file is not trusted: {0}")]
    PolicyUntrusted(String),
    /// The policy file cannot be read by the target, whose process this is in user mode.
    #[error(
        "{path} cannot be read: {errno}; its mode is 0644, and its directories are open to all"
    )]
    PolicyUnreadable {
        /// The file or directory.
        path: PathBuf,
        /// What open(2) said.
        errno: Errno,
    },
    /// The policy file says something that it cannot say.
    #[error("{path}: {reason}")]
    PolicyMalformed {
        /// The file.
        path: PathBuf,
        /// Line and key.
        reason: String,
    },
    /// Others than root could replace our own binary.
    #[error("this program's own file is not trusted: {0}")]
    BinaryUntrusted(String),
    /// There is no such account.
    #[error("there is no account with {asked}; check `getent passwd`")]
    TargetUnknown {
        /// The name or uid that was looked up.
        asked: String,
    },
    /// The policy does not let this account have a server.
    #[error("{target} may not have a server: {reason}")]
    TargetNotPermitted {
        /// The account.
        target: String,
        /// Which rule says so.
        reason: String,
    },
    /// A hook did not succeed, and the policy says that this matters.
    #[error("the hook {name} did not succeed, so the server was not started (hooks.on_failure)")]
    HookFailed {
        /// The hook.
        name: String,
    },
    /// uid 0 is never a target.
    #[error(
        "root is never a target: call this program as `sudo -nH -u USER …`, with the account whose server it is"
    )]
    TargetIsRoot,
    /// Ids or capabilities that would let the server become someone else.
    #[error(
        "privileges are left, or could not be given up ({0}): call this program through sudo, and give it no setuid bit and no capabilities"
    )]
    PrivilegesLeft(String),
    /// A system call on the way to the server failed.
    #[error("the server could not be launched: {step}: {errno}")]
    LaunchFailed {
        /// What was being done.
        step: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// Nobody reads the reply any more, so the server that was started has been ended.
    #[error("the caller went away before the server was up")]
    CallerGone,
}

impl Denial {
    /// For `map_err`: the failure of a system call on the way to the server.
    pub fn at(step: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::LaunchFailed { step: step.to_owned(), errno }
    }

    /// Code and exit status; see [`crate::error::Error::classify`].
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
            Self::TargetUnknown { .. } => ("target_unknown", 1),
            Self::TargetNotPermitted { .. } => ("target_not_permitted", 1),
            Self::HookFailed { .. } => ("hook_failed", 0),
            Self::TargetIsRoot => ("target_is_root", 1),
            Self::PrivilegesLeft(_) => ("privileges_left", 1),
            Self::LaunchFailed { .. } => ("launch_failed", 0),
            Self::CallerGone => ("caller_gone", 0),
        }
    }
}

/// A failure as one process of a launch reports it to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setback {
    /// Its code.
    pub code: String,
    /// Its sentence.
    pub sentence: String,
    /// The exit status that it makes.
    pub exit_status: u8,
}

impl From<Denial> for Setback {
    fn from(denial: Denial) -> Self {
        let (code, exit_status) = denial.classify();
        Self { code: code.to_owned(), sentence: denial.to_string(), exit_status }
    }
}
