//! Ends the job of a spawn that nobody has, also if no controller answers for a while.

use std::time::{Duration, Instant};

use ground::waiting::wait_for_any;
use nix::unistd::Uid;
use target::request::about_job::JobId;

use crate::error::Error;
use crate::programs::{Failure, Programs};
use crate::queue::{Which, list_jobs};
use crate::submission::signal_job;

/// The longest time for each call of Slurm's programs.
const LONGEST_CALL: Duration = Duration::from_secs(20);
/// How long to go on while no controller answers.
const LONGEST_UNDOING: Duration = Duration::from_secs(600);
/// The pause between two attempts.
const INTERVAL: Duration = Duration::from_secs(5);
/// A controller that answers again may first answer, and then take the job that it was given before. So a job that may
/// exist is looked for this many times.
const ENOUGH_LOOKS: u32 = 3;

/// What may be left of a spawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// A job.
    Job(JobId),
    /// The job that the sbatch of this session has submitted, if it has: its answer was lost.
    Submission(i32),
}

impl Left {
    /// What a failed submission may have left.
    #[must_use]
    pub fn find(error: &Error) -> Option<Self> {
        match error {
            Error::Slurm(
                Failure::Silent { session, .. } | Failure::Unreachable { session, .. },
            ) => Some(Self::Submission(*session)),
            _ => None,
        }
    }
}

/// The end of a job that nobody has.
#[derive(Debug)]
pub struct Undoing {
    /// Slurm's programs.
    pub programs: Programs,
    /// What the job is called.
    pub name: String,
    /// Whose it is.
    pub uid: Uid,
    /// What is to be ended.
    pub left: Left,
}

impl Undoing {
    /// Tries once. Returns whether nothing is left.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self.end() {
            Ok(is_ended) => is_ended,
            // Slurm will not change its mind.
            Err(failure @ Failure::Refused { .. }) => {
                log::error!("a job that nobody has could not be cancelled: {failure}");
                true
            }
            Err(_) => false,
        }
    }

    /// Tries again and again. The caller has its reply by then.
    pub fn go_on(&self) {
        let begun = Instant::now();
        let mut looks = 0_u32;
        while looks < ENOUGH_LOOKS && begun.elapsed() < LONGEST_UNDOING {
            let _ = wait_for_any(&mut [], INTERVAL);
            match self.end() {
                Ok(false) => looks = looks.saturating_add(1),
                Ok(true) | Err(Failure::Refused { .. }) => return,
                Err(_) => {}
            }
        }
    }

    /// Returns whether there was a job to be ended.
    fn end(&self) -> Result<bool, Failure> {
        let jobs: Vec<JobId> = match self.left {
            Left::Job(job) => vec![job],
            Left::Submission(session) => {
                let called =
                    list_jobs(&self.programs, Which::Called(&self.name, self.uid), LONGEST_CALL)?;
                let own = called.into_iter().filter(|job| job.session == Some(session));
                own.map(|job| job.id).collect()
            }
        };
        for job in &jobs {
            signal_job(&self.programs, *job, None, LONGEST_CALL)?;
        }
        Ok(!jobs.is_empty())
    }
}
