//! Everything that can go wrong, with one variant for each case that a caller can distinguish.
//!
//! Every variant has a stable [`Error::code`] for programs and a sentence for people that says what to do.
//! `docs/protocol.md` lists the codes, and a test compares the two lists.

use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use thiserror::Error;

use ground::denial::Denial;
use ground::report::{End, Report, Setback};
use ground::server_name::escaping::WrongName;

/// Why a call could not be carried out.
#[derive(Debug, Error)]
pub enum Error {
    /// The command line has a mistake.
    #[error("{0}; `sudospawner --help` lists the options")]
    Usage(String),
    /// An option that would let the caller write files as the target or choose the policy.
    #[error(
        "the option --{0} is refused: the caller must not choose files that are written as the target"
    )]
    OptionRefused(String),
    /// The request is not a JSON object of the documented form.
    #[error("the request is malformed: {0}")]
    MalformedRequest(String),
    /// Stdin has more bytes than a request may have.
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
    /// Accounts other than root could replace the server's executable.
    #[error("the server's executable is not trusted: {0}")]
    ServerUntrusted(String),
    /// The request asks for more than the policy permits.
    #[error(
        "{asked} of {limit} were asked for, and the policy gives a server at most {ceiling} (limits.{limit}): lower the Hub's limit, or raise the policy's"
    )]
    LimitExceedsPolicy {
        /// Which limit.
        limit: &'static str,
        /// What was asked for.
        asked: String,
        /// The most that the policy permits.
        ceiling: String,
    },
    /// The request names a unit that a server of this target and name cannot have.
    #[error(
        "the unit {unit} is not the one that this server has under the policy, which is {own}: if systemd.unit_name was changed while the server ran, end it as root with systemctl stop"
    )]
    UnitNotPermitted {
        /// The unit in the request.
        unit: String,
        /// The unit's name according to the policy.
        own: String,
    },
    /// The policy has a limit that cannot be enforced.
    #[error(
        "nothing here can hold a server to a limit of {limit}: set server.launcher = \"systemd\" in the policy (root mode), or take the limit away (in the policy's [limits], or the Hub's mem_limit and cpu_limit)"
    )]
    LimitNotEnforceable {
        /// Which limit.
        limit: &'static str,
    },
    /// `--user` names an account other than the one that sudo chose.
    #[error(
        "--user={asked} differs from the account that sudo chose, {actual}: make the two the same, or leave --user out"
    )]
    TargetMismatch {
        /// The account on the command line.
        asked: String,
        /// The account that this process runs as.
        actual: String,
    },
    /// Neither executable exists.
    #[error(
        "there is no server executable: neither sudospawner-singleuser nor jupyterhub-singleuser is in {directory}; install JupyterHub into the same environment as sudospawner"
    )]
    ServerMissing {
        /// Where both were searched for.
        directory: PathBuf,
    },
    /// The target cannot execute the server's file.
    #[error("{path} cannot be executed by {target}: {reason}")]
    ServerNotExecutable {
        /// The server's file.
        path: PathBuf,
        /// The account that has to execute it.
        target: String,
        /// Which permission is missing where, and how to give it.
        reason: String,
    },
    /// The target's home directory cannot be entered.
    #[error(
        "the home directory {home} of {target} cannot be entered ({errno}): create it, or mend the account's entry"
    )]
    HomeMissing {
        /// The home directory in the account database.
        home: PathBuf,
        /// The account.
        target: String,
        /// What chdir(2) said.
        errno: Errno,
    },
    /// The request's files could not be written for the server.
    #[error(
        "the server's files (certificate and key) could not be written below {place}: {reason}"
    )]
    FilesNotWritten {
        /// Where.
        place: PathBuf,
        /// What is in the way, and what to do.
        reason: String,
    },
    /// The server's process waits for its directory: a file server or an automounter does not answer.
    #[error(
        "the directory {home}, where {target}'s server starts, has not answered within {seconds} s{mount}: look at its file server or automounter, and start the server again"
    )]
    HomeUnresponsive {
        /// The directory that the server starts in.
        home: PathBuf,
        /// The account.
        target: String,
        /// How long was waited.
        seconds: u64,
        /// Where it is mounted from, in parentheses, or empty.
        mount: String,
    },
    /// The server's process waits for the directory that has the server's file.
    #[error(
        "the directory {directory}, where the server's program is, has not answered within {seconds} s{mount}: look at its file server or automounter, and start the server again"
    )]
    ServerUnresponsive {
        /// The directory.
        directory: PathBuf,
        /// How long was waited.
        seconds: u64,
        /// Where it is mounted from, in parentheses, or empty.
        mount: String,
    },
    /// A process that acts for the target gives no answer.
    #[error(
        "the process that acts for {target} {reason}: processes of that account may have stopped or killed it; if it happens again, end them as root"
    )]
    TargetUnresponsive {
        /// The account.
        target: String,
        /// What was seen.
        reason: String,
    },
    /// The kernel refused to execute the server.
    #[error("{path} could not be executed: {reason}")]
    ExecFailed {
        /// The server's file.
        path: PathBuf,
        /// The kernel's reason, with the interpreter if that is missing.
        reason: String,
    },
    /// The server ended before it was up.
    #[error("Exited with status: {}{hint}", .end.as_upstream())]
    ExitedEarly {
        /// How it ended.
        end: End,
        /// Why, in systemd's words, if that says more.
        result: Option<String>,
        /// An explanation for people, in parentheses, or empty.
        hint: String,
        /// The last 4 KiB of its output, as text.
        stderr: String,
    },
    /// Another account listens on the port meant for the server.
    #[error("port {port} is taken: the account with uid {uid} listens there")]
    PortTaken {
        /// The port that the request waits for.
        port: u16,
        /// The owner of the socket.
        uid: u32,
    },
    /// A system call about a running server failed for a reason that has nothing to do with the server.
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
    /// A refusal by the part that runs as root.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// A failure reported by another process of the launch.
    #[error("{}", .0.sentence)]
    Reported(Setback),
}

impl From<WrongName> for Error {
    fn from(wrong: WrongName) -> Self {
        match wrong {
            WrongName::TooLong => Denial::ServerNameTooLong.into(),
            WrongName::Malformed => Self::MalformedRequest(
                "the field \"server_name\" has to have at most 255 bytes and no control characters"
                    .to_owned(),
            ),
        }
    }
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        let (code, exit_status) = error.classify();
        Self { code: code.to_owned(), sentence: error.to_string(), exit_status }
    }
}

impl From<Error> for Report {
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(denial) => denial.into(),
            error => Self::Failed(error.into()),
        }
    }
}

impl Error {
    /// The target's process has said nothing for this time.
    #[must_use]
    pub fn silence_of(target: &str, limit: Duration) -> Self {
        let reason = format!("has not answered within {} s", limit.as_secs());
        Self::TargetUnresponsive { target: target.to_owned(), reason }
    }

    /// For `map_err`: a system call failed while a server was being started.
    pub fn at(step: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Denial::at(step)(errno).into()
    }

    /// The stable name of this failure, from `docs/protocol.md`.
    #[must_use]
    pub fn code(&self) -> &str {
        self.classify().0
    }

    /// The exit status of the call: 1 if the request was malformed or refused, 0 if it was understood and
    /// permitted, even if it then failed.
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
            Self::ServerUntrusted(_) => ("server_untrusted", 1),
            Self::LimitNotEnforceable { .. } => ("limit_not_enforceable", 1),
            Self::TargetMismatch { .. } => ("target_mismatch", 1),
            Self::ServerMissing { .. } => ("server_missing", 0),
            Self::ServerNotExecutable { .. } => ("server_not_executable", 0),
            Self::HomeMissing { .. } => ("home_missing", 0),
            Self::FilesNotWritten { .. } => ("files_not_written", 0),
            Self::HomeUnresponsive { .. } => ("home_unresponsive", 0),
            Self::ServerUnresponsive { .. } => ("server_unresponsive", 0),
            Self::TargetUnresponsive { .. } => ("target_unresponsive", 0),
            Self::ExecFailed { .. } => ("exec_failed", 0),
            Self::ExitedEarly { .. } => ("exited_early", 0),
            Self::PortTaken { .. } => ("port_taken", 0),
            Self::LimitExceedsPolicy { .. } => ("limit_exceeds_policy", 1),
            Self::UnitNotPermitted { .. } => ("unit_not_permitted", 1),
            Self::SystemError { .. } => ("system_error", 0),
            Self::KernelUnsupported => ("kernel_unsupported", 0),
            Self::Denied(denial) => denial.classify(),
            Self::Reported(setback) => (&setback.code, setback.exit_status),
        }
    }
}
