//! Everything that can go wrong, one variant for each thing that a caller can tell apart.
//!
//! Every variant has a stable [`Error::code`] for programs and a sentence for people that says
//! what to do. `docs/protocol.md` lists the codes; a test compares the two lists.

use std::path::PathBuf;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a call could not be carried out.
#[derive(Debug, Error)]
pub enum Error {
    /// The command line is not one that this program takes.
    #[error("{0}; `sudospawner --help` lists the options")]
    Usage(String),
    /// An option that would let the caller write files as the target or choose the policy.
    #[error(
        "the option --{0} is refused: the caller must not choose files that are written as the target"
    )]
    OptionRefused(String),
    /// The request is not one JSON object of the documented form.
    #[error("the request is malformed: {0}")]
    MalformedRequest(String),
    /// More bytes on stdin than a request may have.
    #[error("the request is larger than {limit} bytes")]
    RequestTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// Stdin did not end in time.
    #[error(
        "the request was not complete within {seconds} seconds; write one JSON object to stdin and close it"
    )]
    RequestTimeout {
        /// The limit in seconds.
        seconds: u64,
    },
    /// The server name is longer than a unit or file name can hold.
    #[error("the server name is too long: escaped for a file name, it may have at most 238 bytes")]
    ServerNameTooLong,
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
    /// Others than root could replace the server's executable.
    #[error("the server's executable is not trusted: {0}")]
    ServerUntrusted(String),
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
    /// The policy has a limit that cannot be enforced.
    #[error(
        "the policy limits {limit}, which the process launcher cannot enforce: set server.launcher = \"systemd\", or remove the limit"
    )]
    LimitNotEnforceable {
        /// Which limit.
        limit: &'static str,
    },
    /// The launcher that the policy names cannot work here.
    #[error(
        "servers cannot be started as units: {0}; where systemd does not run, set server.launcher = \"process\" in the policy"
    )]
    LauncherUnavailable(String),
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
    /// `--user` names another account than the one that sudo made us.
    #[error(
        "--user={asked} differs from the account that sudo chose, {actual}: make the two the same, or leave --user out"
    )]
    TargetMismatch {
        /// The account on the command line.
        asked: String,
        /// The account that this process runs as.
        actual: String,
    },
    /// Ids or capabilities that would let the server become someone else.
    #[error(
        "privileges are left, or could not be given up ({0}): call this program through sudo, and give it no setuid bit and no capabilities"
    )]
    PrivilegesLeft(String),
    /// Neither sibling exists.
    #[error(
        "there is no server executable: neither sudospawner-singleuser nor jupyterhub-singleuser is in {directory}; install JupyterHub into the same environment as sudospawner"
    )]
    ServerMissing {
        /// Where both were looked for.
        directory: PathBuf,
    },
    /// The server's file cannot be executed by the target.
    #[error("{path} cannot be executed by {target}: {reason}")]
    ServerNotExecutable {
        /// The server's file.
        path: PathBuf,
        /// The account that has to execute it.
        target: String,
        /// Which permission is missing where, and what gives it.
        reason: String,
    },
    /// The target's home cannot be entered.
    #[error(
        "the home directory {home} of {target} cannot be entered ({errno}): create it, or mend the account's entry"
    )]
    HomeMissing {
        /// The home in the account database.
        home: PathBuf,
        /// The account.
        target: String,
        /// What chdir(2) said.
        errno: Errno,
    },
    /// The kernel refused to execute the server.
    #[error("{path} could not be executed: {reason}")]
    ExecFailed {
        /// The server's file.
        path: PathBuf,
        /// The kernel's reason, with the interpreter where that is what is missing.
        reason: String,
    },
    /// The server ended before it was up.
    #[error("Exited with status: {}", .end.as_upstream())]
    ExitedEarly {
        /// How it ended.
        end: crate::process::End,
        /// The last 4 KiB of what it wrote, as text.
        stderr: String,
    },
    /// Another account listens on the port that was meant for the server.
    #[error("port {port} is taken: the account with uid {uid} listens there")]
    PortTaken {
        /// The port that the request waits for.
        port: u16,
        /// Whose socket it is.
        uid: u32,
    },
    /// A system call on the way to the server failed.
    #[error("the server could not be launched: {step}: {errno}")]
    LaunchFailed {
        /// What was being done.
        step: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// A system call about a running server failed for a reason that says nothing of the server.
    #[error("{step}: {errno}")]
    SystemError {
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// The kernel is older than the calls that this program needs.
    #[error(
        "this kernel has no pidfd (Linux 5.3 or later is needed), and without it a recycled pid could be signalled"
    )]
    KernelUnsupported,
    /// Nobody reads the reply any more, so the server that was started has been ended.
    #[error("the caller went away before the server was up")]
    CallerGone,
    /// What another process of the launch has reported.
    #[error("{}", .0.sentence)]
    Reported(Setback),
}

/// An [`Error`] as one process of a launch reports it to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setback {
    /// Its code.
    pub code: String,
    /// Its sentence.
    pub sentence: String,
    /// The exit status that it makes.
    pub exit_status: u8,
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        let (code, exit_status) = error.classify();
        Self { code: code.to_owned(), sentence: error.to_string(), exit_status }
    }
}

impl Error {
    /// For `map_err`: the failure of a system call on the way to the server.
    pub fn at(step: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::LaunchFailed { step: step.to_owned(), errno }
    }

    /// The stable name of this failure, as `docs/protocol.md` lists it.
    #[must_use]
    pub fn code(&self) -> &str {
        self.classify().0
    }

    /// The exit status of the call: 1 for a request that is malformed or refused, 0 for one that
    /// was understood and permitted, whatever became of it.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        self.classify().1
    }

    /// Code and exit status.
    #[must_use]
    pub fn classify(&self) -> (&str, u8) {
        match self {
            Self::Usage(_) => ("usage", 1),
            Self::OptionRefused(_) => ("option_refused", 1),
            Self::MalformedRequest(_) => ("malformed_request", 1),
            Self::RequestTooLarge { .. } => ("request_too_large", 1),
            Self::RequestTimeout { .. } => ("request_timeout", 1),
            Self::ServerNameTooLong => ("server_name_too_long", 1),
            Self::CallerUnknown(_) => ("caller_unknown", 1),
            Self::CallerNotPermitted { .. } => ("caller_not_permitted", 1),
            Self::PolicyMissing => ("policy_missing", 1),
            Self::PolicyUntrusted(_) => ("policy_untrusted", 1),
            Self::PolicyUnreadable { .. } => ("policy_unreadable", 1),
            Self::PolicyMalformed { .. } => ("policy_malformed", 1),
            Self::BinaryUntrusted(_) => ("binary_untrusted", 1),
            Self::ServerUntrusted(_) => ("server_untrusted", 1),
            Self::TargetUnknown { .. } => ("target_unknown", 1),
            Self::TargetNotPermitted { .. } => ("target_not_permitted", 1),
            Self::LimitNotEnforceable { .. } => ("limit_not_enforceable", 1),
            Self::HookFailed { .. } => ("hook_failed", 0),
            Self::TargetIsRoot => ("target_is_root", 1),
            Self::TargetMismatch { .. } => ("target_mismatch", 1),
            Self::PrivilegesLeft(_) => ("privileges_left", 1),
            Self::ServerMissing { .. } => ("server_missing", 0),
            Self::ServerNotExecutable { .. } => ("server_not_executable", 0),
            Self::HomeMissing { .. } => ("home_missing", 0),
            Self::ExecFailed { .. } => ("exec_failed", 0),
            Self::ExitedEarly { .. } => ("exited_early", 0),
            Self::PortTaken { .. } => ("port_taken", 0),
            Self::LauncherUnavailable(_) => ("launcher_unavailable", 0),
            Self::LaunchFailed { .. } => ("launch_failed", 0),
            Self::SystemError { .. } => ("system_error", 0),
            Self::KernelUnsupported => ("kernel_unsupported", 0),
            Self::CallerGone => ("caller_gone", 0),
            Self::Reported(setback) => (&setback.code, setback.exit_status),
        }
    }
}
