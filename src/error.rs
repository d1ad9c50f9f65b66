//! Everything that can go wrong, one variant for each thing that a caller can tell apart.
//!
//! Every variant has a stable [`Error::code`] for programs and a sentence for people that says
//! what to do. `docs/protocol.md` lists the codes; a test compares the two lists.

use std::path::PathBuf;

use nix::errno::Errno;
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
    #[error(
        "the server name is too long: it may have at most 255 bytes when it is escaped for a file name"
    )]
    ServerNameTooLong,
    /// Who called cannot be told.
    #[error("the caller is unknown: {0}")]
    CallerUnknown(String),
    /// The account that we run as has no entry in the account database.
    #[error("there is no account with uid {uid}; check `getent passwd {uid}`")]
    TargetUnknown {
        /// The uid that was looked up.
        uid: u32,
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
        "privileges are left that the server must not have ({0}): call this program through sudo -u USER, not by a setuid bit or with capabilities"
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
        step: &'static str,
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
}

impl Error {
    /// The stable name of this failure, as `docs/protocol.md` lists it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::OptionRefused(_) => "option_refused",
            Self::MalformedRequest(_) => "malformed_request",
            Self::RequestTooLarge { .. } => "request_too_large",
            Self::RequestTimeout { .. } => "request_timeout",
            Self::ServerNameTooLong => "server_name_too_long",
            Self::CallerUnknown(_) => "caller_unknown",
            Self::TargetUnknown { .. } => "target_unknown",
            Self::TargetIsRoot => "target_is_root",
            Self::TargetMismatch { .. } => "target_mismatch",
            Self::PrivilegesLeft(_) => "privileges_left",
            Self::ServerMissing { .. } => "server_missing",
            Self::ServerNotExecutable { .. } => "server_not_executable",
            Self::HomeMissing { .. } => "home_missing",
            Self::ExecFailed { .. } => "exec_failed",
            Self::ExitedEarly { .. } => "exited_early",
            Self::PortTaken { .. } => "port_taken",
            Self::LaunchFailed { .. } => "launch_failed",
            Self::SystemError { .. } => "system_error",
            Self::KernelUnsupported => "kernel_unsupported",
            Self::CallerGone => "caller_gone",
        }
    }

    /// The exit status of the call: 1 for a request that is malformed or refused, 0 for one that
    /// was understood and permitted, whatever became of it.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Usage(_)
            | Self::OptionRefused(_)
            | Self::MalformedRequest(_)
            | Self::RequestTooLarge { .. }
            | Self::RequestTimeout { .. }
            | Self::ServerNameTooLong
            | Self::CallerUnknown(_)
            | Self::TargetUnknown { .. }
            | Self::TargetIsRoot
            | Self::TargetMismatch { .. }
            | Self::PrivilegesLeft(_) => 1,
            Self::ServerMissing { .. }
            | Self::ServerNotExecutable { .. }
            | Self::HomeMissing { .. }
            | Self::ExecFailed { .. }
            | Self::ExitedEarly { .. }
            | Self::PortTaken { .. }
            | Self::LaunchFailed { .. }
            | Self::SystemError { .. }
            | Self::KernelUnsupported
            | Self::CallerGone => 0,
        }
    }
}
