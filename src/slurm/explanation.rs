//! Says what has become of a server's job.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use ground::escape::{Lines, escape_control_characters};
use ground::report::{End, JobNews};
use nix::libc;
use target::request::about_job::JobId;
use target::supervisor::relay::TAIL_BYTES;

use crate::error::Error;
use crate::programs::Failure;
use crate::queue::Job;

/// The signal with which Slurm ends a job whose output cannot be opened. It is none of the kernel's.
const NO_OUTPUT: i32 = 53;

/// What the caller may be told of a job, as text.
#[must_use]
pub fn describe(job: &Job) -> JobNews {
    let clean = |text: &str| escape_control_characters(text.as_bytes(), Lines::One);
    let waits = job.is_pending();
    JobNews {
        job: job.id.to_string(),
        started: clean(&job.started),
        state: clean(&job.state),
        reason: job.reason.as_deref().filter(|_| waits).map(clean),
        estimated_start: job.start.as_deref().filter(|_| waits).map(clean),
        host: job.host.as_deref().map(clean),
        port: None,
    }
}

/// How a job ended before its server listened, with the last lines of its output.
#[must_use]
pub fn explain_end(job: &Job, output: &Path) -> Error {
    let result = job.result();
    let hint = match (result.as_deref(), job.end) {
        (Some(result), _) => format!(" ({})", explain_result(result)),
        (None, End::Killed(NO_OUTPUT)) => {
            format!(" (Slurm could not open its output on the node: {})", output.display())
        }
        (None, _) => String::new(),
    };
    let tail = escape_control_characters(&read_tail(output), Lines::Many);
    Error::Ended { end: job.end, result, hint, tail }
}

/// Why there is no server after this time. `last` is what was seen of the job last, `failure` why the last look failed.
#[must_use]
pub fn explain_delay(
    job: JobId,
    last: Option<Job>,
    failure: Option<Failure>,
    limit: Duration,
    output: &Path,
) -> Error {
    let (job, seconds) = (job.to_string(), limit.as_secs());
    match (failure, last) {
        (Some(failure), _) => failure.into(),
        (None, Some(Job { host: Some(host), .. })) => {
            Error::JobSilent { job, host, seconds, output: output.display().to_string() }
        }
        (None, last) => {
            let (reason, start) = last.map_or((None, None), |job| (job.reason, job.start));
            let reason = reason.unwrap_or_else(|| "no reason given".to_owned());
            let estimate = start.map_or_else(
                || "Slurm had no estimate of its start".to_owned(),
                |start| format!("Slurm thought that it would start at {start}"),
            );
            Error::JobPending { job, seconds, why: format!("{reason}; {estimate}") }
        }
    }
}

/// What Slurm's word for the end of a job means.
fn explain_result(result: &str) -> &'static str {
    match result {
        "TIMEOUT" => "the time of its job was over",
        "OUT_OF_MEMORY" => "its job used more memory than it may",
        "NODE_FAIL" => "its node failed",
        "PREEMPTED" => "its job had to make room for one of higher priority",
        "CANCELLED" => "its job was cancelled",
        "DEADLINE" => "its job reached its deadline",
        "BOOT_FAIL" => "its node could not be booted",
        "REVOKED" => "its job was revoked",
        _ => "Slurm ended its job",
    }
}

/// The last bytes of a file; nothing if it cannot be read. The target may have made it a pipe, which nobody writes to.
fn read_tail(path: &Path) -> Vec<u8> {
    let mut tail = Vec::new();
    let _ = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).and_then(
        |mut file| {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES as u64)))?;
            file.take(TAIL_BYTES as u64).read_to_end(&mut tail)
        },
    );
    tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_of_a_file_are_read_and_nothing_of_one_that_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(read_tail(&path), b"");
        std::fs::write(&path, "a".repeat(TAIL_BYTES) + "the end").unwrap();
        let tail = read_tail(&path);
        assert_eq!(tail.len(), TAIL_BYTES);
        assert!(tail.ends_with(b"the end"));
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read_tail(&pipe), b"");
    }
}
