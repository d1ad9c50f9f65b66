//! Why the command was not started.

use nix::errno::Errno;
use thiserror::Error;

/// Why the command was not started.
#[derive(Debug, Error)]
pub enum Failure {
    /// The command line, or a variable that replaces an option, has a mistake.
    #[error("{0}; `jupyterhub-roothooks --help` lists the options")]
    Usage(String),
    /// An account other than root has become root by a setuid bit.
    #[error("this program is for root: take away its setuid bit, and start the container as root")]
    Setuid,
    /// An account other than root cannot become the one asked for.
    #[error("uid {own} cannot become uid {asked}: start the container as root (runAsUser: 0)")]
    NotRoot {
        /// The uid of this process.
        own: u32,
        /// The uid that the command should have.
        asked: u32,
    },
    /// An account other than root cannot take this group.
    #[error(
        "group {0} cannot be taken: have the runtime give it (supplementalGroups, fsGroup), or start the container as root (runAsUser: 0)"
    )]
    GroupMissing(u32),
    /// Root could not be given up.
    #[error(
        "root could not be given up ({0}): the container needs the capabilities SETUID and SETGID, and with hostUsers: false ids below 65536"
    )]
    PrivilegesLeft(String),
    /// A system call failed before the command was executed.
    #[error("{step}: {errno}")]
    SystemError {
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// The command could not be executed.
    #[error("the command {command} could not be executed: {errno}")]
    NotExecuted {
        /// Its first word.
        command: String,
        /// What the kernel said.
        errno: Errno,
    },
}

impl Failure {
    /// The exit status that env(1) and shells use for a command that was not started.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::NotExecuted { errno: Errno::ENOENT, .. } => 127,
            Self::NotExecuted { .. } => 126,
            _ => 1,
        }
    }
}

/// A mistake in the command line.
pub fn usage(sentence: &str) -> Failure {
    Failure::Usage(sentence.to_owned())
}
