//! What can go wrong with a server in a job. As with all errors, `docs/protocol.md` lists the codes.

use ground::denial::Denial;
use ground::report::{End, Report, Setback};
use nix::errno::Errno;
use thiserror::Error;

use crate::profile::Exceeded;
use crate::programs::Failure;

/// Why a call about a server in a job could not be carried out.
#[derive(Debug, Error)]
pub enum Error {
    /// The policy has no such profile.
    #[error("the policy has no profile {asked:?}: choose one of those under slurm.profiles")]
    ProfileUnknown {
        /// Its name.
        asked: String,
    },
    /// The target may not choose the profile.
    #[error("{target} may not choose the profile {profile}, which is for members of {groups}")]
    ProfileNotPermitted {
        /// The account.
        target: String,
        /// The profile's name.
        profile: String,
        /// Its groups.
        groups: String,
    },
    /// The request asks for more than its profile has.
    #[error(
        "{} of {} were asked for, and the profile {profile} gives a server at most {} (slurm.profiles.{profile}.{}): ask for less, or choose another profile", .exceeded.asked, .exceeded.limit, .exceeded.ceiling, .exceeded.limit
    )]
    LimitExceedsPolicy {
        /// The profile's name.
        profile: String,
        /// Which limit.
        exceeded: Exceeded,
    },
    /// A program of Slurm's has not done what it was asked.
    #[error(transparent)]
    Slurm(#[from] Failure),
    /// The request has files, and nothing can keep them from those who listen to the network.
    #[error(
        "the server's certificate and key cannot be sealed for their way to the node: {0}; munge and unmunge have to work on this machine and on the nodes (echo x | munge | unmunge)"
    )]
    NotSealed(String),
    /// The job's output has no place.
    #[error("the job's log has no place: {0}; slurm.output in the policy names it")]
    NoOutput(String),
    /// The time was over before the job started.
    #[error(
        "the job {job} waited {seconds} s in Slurm's queue ({why}) and was cancelled: ask for less, or raise the Hub's start_timeout"
    )]
    JobPending {
        /// The job.
        job: String,
        /// How long was waited.
        seconds: u64,
        /// Why it waited, and when Slurm thought that it would start.
        why: String,
    },
    /// The time was over before the server listened.
    #[error(
        "the job {job} runs on {host}, but its server did not listen within {seconds} s, and it was cancelled; its output is in {output}"
    )]
    JobSilent {
        /// The job.
        job: String,
        /// The node.
        host: String,
        /// How long was waited.
        seconds: u64,
        /// The file with its output.
        output: String,
    },
    /// Slurm does not know the job any more.
    #[error("the job {job} was submitted, and Slurm does not know it any more")]
    JobLost {
        /// The job.
        job: String,
    },
    /// The job ended before its server listened.
    #[error("Exited with status: {}{hint}", .end.as_upstream())]
    Ended {
        /// How its script ended.
        end: End,
        /// Slurm's word, if it says more.
        result: Option<String>,
        /// An explanation for people, in parentheses, or empty.
        hint: String,
        /// The last 4 KiB of its output, as text.
        tail: String,
    },
    /// Every port that the policy has for servers is taken on the node.
    #[error("on this node every port from {first} to {last} is taken (slurm.ports)")]
    NoPort {
        /// The first.
        first: u16,
        /// The last.
        last: u16,
    },
    /// A list of jobs was expected.
    #[error("stdin has to have the numbers of jobs, one a line, at most 10000")]
    NoJobs,
    /// What can also go wrong without a job.
    #[error(transparent)]
    Plain(#[from] target::error::Error),
    /// The job says from its node why there is no server.
    #[error("{}", .0.sentence)]
    Told(Setback),
}

impl Error {
    /// For `map_err`: a system call failed while a server was being started.
    pub fn at(step: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Denial::at(step)(errno).into()
    }

    /// Code and exit status; see [`target::error::Error::classify`].
    #[must_use]
    pub fn classify(&self) -> (&str, u8) {
        match self {
            Self::ProfileUnknown { .. } => ("profile_unknown", 1),
            Self::ProfileNotPermitted { .. } => ("profile_not_permitted", 1),
            Self::LimitExceedsPolicy { .. } => ("limit_exceeds_policy", 1),
            Self::Slurm(Failure::Refused { .. } | Failure::Unknown) => ("job_refused", 0),
            Self::Slurm(_) | Self::NotSealed(_) => ("slurm_unavailable", 0),
            Self::NoOutput(_) => ("job_refused", 0),
            Self::JobPending { .. } => ("job_pending", 0),
            Self::JobSilent { .. } => ("job_silent", 0),
            Self::JobLost { .. } => ("job_lost", 0),
            Self::Ended { .. } => ("exited_early", 0),
            Self::NoJobs => ("usage", 1),
            Self::NoPort { .. } => ("port_taken", 0),
            Self::Plain(error) => error.classify(),
            Self::Told(setback) => (&setback.code, 0),
        }
    }
}

impl From<Denial> for Error {
    fn from(denial: Denial) -> Self {
        Self::Plain(denial.into())
    }
}

impl From<Error> for Report {
    fn from(error: Error) -> Self {
        if let Error::Ended { end, result, hint, tail } = error {
            return Self::JobEnded { end, result, hint, tail };
        }
        let (code, exit_status) = error.classify();
        Self::Failed(Setback { code: code.to_owned(), sentence: error.to_string(), exit_status })
    }
}
