//! Runs Slurm's programs: nothing of the caller's environment reaches them, since each of their options can be set
//! by a variable, and each has a time limit, since they wait long for a controller that does not answer.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ground::escape::{Lines, escape_control_characters};
use ground::output::Output;
use ground::program::Program;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use thiserror::Error;

use crate::section::Section;

/// Where Slurm's programs are looked for if the policy does not say.
const USUAL: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/opt/slurm/bin", "/usr/local/slurm/bin"];
/// How much of a program's output is kept: what squeue prints of a few thousand jobs.
const MOST_OUTPUT: usize = 4 << 20;
/// How much of its complaints is kept.
const MOST_COMPLAINTS: usize = 4096;
/// The variable that tells programs within a job where Slurm's configuration is.
const CONFIGURATION: &str = "SLURM_CONF";

/// What Slurm's programs say when no controller answers, or when they cannot prove to it who they are.
const UNREACHABLE: [&str; 6] = [
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "authentication",
    "Could not establish a configuration source",
    "backup controller",
];
/// What they say of a job that is not known any more.
const UNKNOWN: &str = "Invalid job id specified";

/// What they say of a job that has ended.
const ENDED: [&str; 2] = ["already completing or completed", "already finished"];

/// Why a program of Slurm's has not done what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// It cannot be executed.
    #[error(
        "Slurm's {program} cannot be executed ({errno}): install Slurm's programs on this machine, or name their directory in the policy (slurm.programs)"
    )]
    Missing {
        /// Its path.
        program: String,
        /// What execve(2) said.
        errno: Errno,
    },
    /// It did not end in time.
    #[error(
        "Slurm's {program} has not answered within {seconds} s: look at the controller (scontrol ping)"
    )]
    Silent {
        /// Its name.
        program: String,
        /// The time limit in seconds.
        seconds: u64,
        /// The session that it ran in, of which Slurm keeps the number.
        session: i32,
    },
    /// No controller answers.
    #[error("Slurm's controller cannot be reached (scontrol ping tests it): {said}")]
    Unreachable {
        /// The program's words.
        said: String,
        /// The session that it ran in.
        session: i32,
    },
    /// The controller has refused.
    #[error("Slurm has refused it: {said}")]
    Refused {
        /// The program's words.
        said: String,
    },
    /// The job is not known, or not any more.
    #[error("Slurm does not know this job")]
    Unknown,
}

impl Failure {
    /// Whether the job has ended, or is about to.
    #[must_use]
    pub fn is_of_ended_job(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Refused { said } => ENDED.iter().any(|words| said.contains(words)),
            _ => false,
        }
    }
}

/// Slurm's programs, in one directory.
#[derive(Debug, Clone)]
pub struct Programs {
    directory: PathBuf,
    /// The configuration, where the policy names it, or Slurm does in the environment of a job.
    configuration: Option<String>,
}

impl Programs {
    /// The programs in the policy's directory, else in the first usual one that has them.
    #[must_use]
    pub fn find(section: &Section) -> Self {
        let found = || USUAL.iter().map(PathBuf::from).find(|path| path.join("sbatch").exists());
        let directory = section.programs.clone().or_else(found);
        let directory = directory.unwrap_or_else(|| PathBuf::from("/usr/bin"));
        let configuration = section.conf.as_ref().map(|path| path.display().to_string());
        Self { directory, configuration }
    }

    /// The same within a job, whose environment may say where the configuration is.
    #[must_use]
    pub fn within_job(section: &Section, configuration: Option<String>) -> Self {
        let found = Self::find(section);
        Self { configuration: configuration.or(found.configuration), ..found }
    }

    /// Their directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs one of them, and returns what it has written to stdout.
    ///
    /// # Errors
    /// Every [`Failure`].
    pub fn run(
        &self,
        name: &str,
        words: &[String],
        input: Option<BorrowedFd<'_>>,
        limit: Duration,
    ) -> Result<String, Failure> {
        let path = self.directory.join(name).display().to_string();
        let missing = |errno| Failure::Missing { program: path.clone(), errno };
        let mut variables = vec!["PATH=/usr/bin:/bin".to_owned(), "LC_ALL=C".to_owned()];
        variables.extend(self.configuration.iter().map(|it| format!("{CONFIGURATION}={it}")));
        let argv = std::iter::once(path.clone()).chain(words.iter().cloned());
        let program = Program::new(argv, variables).map_err(missing)?;
        let (mut output, stdout) = Output::keep(MOST_OUTPUT).map_err(missing)?;
        let (mut complaints, stderr) = Output::keep(MOST_COMPLAINTS).map_err(missing)?;
        let child =
            program.start(input, Some([stdout.as_fd(), stderr.as_fd()])).map_err(missing)?;
        drop((stdout, stderr));
        let has_ended = output.read_until_end_of(child, limit).unwrap_or(false);
        if !has_ended {
            let _ = kill(child, Signal::SIGKILL);
        }
        let ended = waitpid(child, None);
        if !has_ended {
            let (program, seconds, session) = (name.to_owned(), limit.as_secs(), child.as_raw());
            return Err(Failure::Silent { program, seconds, session });
        }
        complaints.read();
        if matches!(ended, Ok(WaitStatus::Exited(_, 0))) {
            return Ok(String::from_utf8_lossy(&output.bytes).into_owned());
        }
        Err(explain(&complaints.bytes, child.as_raw()))
    }
}

/// What a program means that has ended without success.
fn explain(complaints: &[u8], session: i32) -> Failure {
    let said = escape_control_characters(complaints.trim_ascii(), Lines::One);
    if said.contains(UNKNOWN) {
        Failure::Unknown
    } else if UNREACHABLE.iter().any(|words| said.contains(words)) {
        Failure::Unreachable { said, session }
    } else {
        Failure::Refused { said }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_complains_of_tells_a_refusal_from_a_controller_that_is_away() {
        for (said, is_unreachable) in [
            ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", true),
            (
                "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
                true,
            ),
            ("sbatch: error: Batch job submission failed: Protocol authentication error", true),
            ("sbatch: error: Batch job submission failed: Invalid partition name specified", false),
            ("", false),
        ] {
            let found = matches!(explain(said.as_bytes(), 7), Failure::Unreachable { .. });
            assert_eq!(found, is_unreachable, "{said}");
        }
        let unknown = explain(b"slurm_load_jobs error: Invalid job id specified\n", 7);
        assert_eq!(unknown, Failure::Unknown);
    }
}
