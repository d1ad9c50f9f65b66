//! What Slurm's queue says of jobs: one line of squeue(1) each.
//!
//! Users write comments, in any bytes. So the comment is asked for only of a single job, and is the last column: what
//! follows the columns before it is the comment, with whatever it has. `squeue --json` is not used: one user's comment
//! can make it no JSON for everybody, and 22.05 shows an empty queue while the controller is away.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use ground::report::End;
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use target::request::about_job::JobId;

use crate::clock::parse_time;
use crate::programs::{Failure, Programs};

/// The columns that are known of each job.
const COLUMNS: [&str; 13] = [
    "JobID",
    "UserID",
    "State",
    "BatchHost",
    "Cluster",
    "SubmitTime",
    "StartTime",
    "EndTime",
    "TimeUsed",
    "TimeLeft",
    "exit_code",
    "AllocSID",
    "Reason",
];
const SEPARATOR: char = '|';
/// What squeue prints where there is nothing.
const NOTHING: [&str; 4] = ["", "n/a", "N/A", "(null)"];
/// The states of a job whose processes are there, or are to be.
const ALIVE: [&str; 11] = [
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "SUSPENDED",
    "STOPPED",
    "RESIZING",
    "SIGNALING",
    "STAGE_OUT",
    "REQUEUED",
    "REQUEUE_HOLD",
    "REQUEUE_FED",
];
/// The states that say no more than the exit status or signal does.
const PLAIN_ENDS: [&str; 3] = ["COMPLETED", "COMPLETING", "FAILED"];

/// A job, as squeue shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Whose it is.
    pub uid: Uid,
    /// Slurm's word for its state.
    pub state: String,
    /// The node that runs its script.
    pub host: Option<String>,
    /// Cluster, number and time of submission. Numbers are used again in the end.
    pub started: String,
    /// When it starts or has started, as squeue prints times.
    pub start: Option<String>,
    /// For how long it has been running.
    pub used: Option<Duration>,
    /// For how long it may still run.
    pub left: Option<Duration>,
    /// How its script has ended.
    pub end: End,
    /// The session of the sbatch that has submitted it.
    pub session: Option<i32>,
    /// Why it waits, or has ended.
    pub reason: Option<String>,
    /// What the job has written as its comment. Empty in a list of jobs.
    pub comment: String,
}

impl Job {
    /// Whether its processes are there, or are to be.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        ALIVE.contains(&self.state.as_str())
    }

    /// Whether its processes are about to end.
    #[must_use]
    pub fn is_completing(&self) -> bool {
        self.state == "COMPLETING"
    }

    /// Whether it waits in the queue.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.is_alive() && self.host.is_none()
    }

    /// Its state, if that says more of its end than exit status and signal do.
    #[must_use]
    pub fn result(&self) -> Option<String> {
        let is_plain = PLAIN_ENDS.contains(&self.state.as_str());
        (!is_plain && !self.is_alive()).then(|| self.state.clone())
    }

    fn parse(line: &str) -> Option<Self> {
        let mut columns = line.splitn(COLUMNS.len().checked_add(1)?, SEPARATOR);
        let mut next = || columns.next();
        let (id, uid, state, host) = (next()?, next()?, next()?, next()?);
        let (cluster, submitted, start, _end) = (next()?, next()?, next()?, next()?);
        let (used, left, exit, session, reason) = (next()?, next()?, next()?, next()?, next()?);
        let comment = next().unwrap_or_default().trim_end_matches(['|', '\n']);
        let said = |text: &str| (!NOTHING.contains(&text)).then(|| text.to_owned());
        Some(Self {
            id: JobId::parse(id)?,
            uid: Uid::from_raw(uid.parse().ok()?),
            state: state.to_owned(),
            host: said(host),
            started: format!("{cluster}:{id}:{submitted}"),
            start: said(start),
            used: parse_time(used),
            left: parse_time(left),
            end: parse_end(exit)?,
            session: session.parse().ok(),
            reason: said(reason).filter(|reason| reason != "None"),
            comment: said(comment).unwrap_or_default(),
        })
    }
}

/// What Slurm says in place of a signal where a job used too much memory. It was SIGKILL, the kernel's.
const OUT_OF_MEMORY: i32 = 125;

/// Reads `exit:signal`, or, as 22.05 has it, the status of wait(2).
fn parse_end(text: &str) -> Option<End> {
    let (exit, signal) = match text.split_once(':') {
        Some((exit, signal)) => (exit.parse().ok()?, signal.parse().ok()?),
        None => {
            let status: i32 = text.parse().ok()?;
            (status >> 8 & 0xff, status & 0x7f)
        }
    };
    Some(match signal {
        0 => End::Exited(exit),
        OUT_OF_MEMORY => End::Killed(Signal::SIGKILL as i32),
        _ => End::Killed(signal),
    })
}

/// Which jobs are asked for.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// A single one, with its comment.
    One(JobId),
    /// The same, if it is called so.
    OneCalled(JobId, &'a str),
    /// These.
    These(&'a [JobId]),
    /// Those of an account that are called so and have not ended.
    Called(&'a str, Uid),
}

/// The jobs that squeue shows of those that are asked for, at most `limit` later.
///
/// # Errors
/// Every [`Failure`] but [`Failure::Unknown`].
pub fn list_jobs(
    programs: &Programs,
    which: Which<'_>,
    limit: Duration,
) -> Result<Vec<Job>, Failure> {
    // Without `--all` jobs in partitions that the caller may not use are hidden.
    let mut words = vec!["--all".to_owned(), "--noheader".to_owned()];
    let mut columns: Vec<&str> = COLUMNS.to_vec();
    let every_state = "--states=all".to_owned();
    match which {
        Which::One(id) => {
            words.extend([every_state, format!("--jobs={id}")]);
            columns.push("Comment");
        }
        Which::OneCalled(id, name) => {
            words.extend([every_state, format!("--jobs={id}"), format!("--name={name}")]);
        }
        Which::These(ids) => {
            let ids: Vec<String> = ids.iter().map(JobId::to_string).collect();
            words.extend([every_state, format!("--jobs={}", ids.join(","))]);
        }
        Which::Called(name, uid) => {
            words.extend([format!("--user={uid}"), format!("--name={name}")]);
        }
    }
    let columns: Vec<String> = columns.iter().map(|name| format!("{name}:{SEPARATOR}")).collect();
    words.push(format!("--Format={}", columns.join(",")));
    let no_input: Option<BorrowedFd<'_>> = None;
    let text = match programs.run("squeue", &words, no_input, limit) {
        Ok(text) => text,
        Err(Failure::Unknown) => return Ok(Vec::new()),
        Err(failure) => return Err(failure),
    };
    Ok(match which {
        Which::One(id) | Which::OneCalled(id, _) => {
            Job::parse(&text).filter(|job| job.id == id).into_iter().collect()
        }
        _ => text.lines().filter_map(Job::parse).collect(),
    })
}

/// The job with this number; `None` if Slurm does not know it, or not any more.
///
/// # Errors
/// Those of [`list_jobs`].
pub fn find_job(programs: &Programs, id: JobId, limit: Duration) -> Result<Option<Job>, Failure> {
    list_jobs(programs, Which::One(id), limit).map(|jobs| jobs.into_iter().next())
}

/// The address of a node, as Slurm itself reaches it.
///
/// # Errors
/// Every [`Failure`].
pub fn find_address(programs: &Programs, node: &str, limit: Duration) -> Result<String, Failure> {
    let words = ["--oneliner", "show", "node", node].map(str::to_owned);
    let text = programs.run("scontrol", &words, None, limit)?;
    let address = text.split_ascii_whitespace().find_map(|word| word.strip_prefix("NodeAddr="));
    Ok(address.unwrap_or(node).to_owned())
}

/// The addresses of all nodes, each once.
///
/// # Errors
/// Every [`Failure`].
pub fn list_addresses(programs: &Programs, limit: Duration) -> Result<Vec<String>, Failure> {
    // A line for each node of each partition.
    let words = ["--all", "--noheader", "--Node", "--format=%o"].map(str::to_owned);
    let text = programs.run("sinfo", &words, None, limit)?;
    let addresses: BTreeSet<&str> = text.split_ascii_whitespace().collect();
    Ok(addresses.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: &str = "7|1000|RUNNING|node1|test|2026-11-29T13:21:53|2026-11-29T13:21:55|2026-11-29T14:21:55|0:01|59:59|0:0|4711|None|";

    #[test]
    fn a_line_of_squeue_is_a_job() {
        let job = Job::parse(&format!("{RUNNING}sudospawner listening 4002|\n")).unwrap();
        assert_eq!(job.started, "test:7:2026-11-29T13:21:53");
        assert_eq!((job.host.as_deref(), job.reason.as_deref()), (Some("node1"), None));
        assert_eq!(
            (job.used, job.left),
            (Some(Duration::from_secs(1)), Some(Duration::from_secs(3599)))
        );
        assert_eq!(job.comment, "sudospawner listening 4002");
        assert_eq!(job.session, Some(4711));
        assert!(job.is_alive() && !job.is_pending());
    }

    #[test]
    fn a_comment_is_all_that_follows_and_forges_no_column() {
        let job = Job::parse(&format!("{RUNNING}a|b\n8|0|RUNNING|node2|x|y|z||\n")).unwrap();
        assert_eq!(job.comment, "a|b\n8|0|RUNNING|node2|x|y|z");
        assert_eq!((job.id.to_string().as_str(), job.uid.as_raw()), ("7", 1000));
        assert_eq!(Job::parse(&format!("{RUNNING}(null)|\n")).unwrap().comment, "");
    }

    #[test]
    fn how_a_job_has_ended_is_read_in_both_spellings() {
        for (text, end) in [
            ("7:0", End::Exited(7)),
            ("0:9", End::Killed(9)),
            ("1792", End::Exited(7)),
            ("9", End::Killed(9)),
            ("0", End::Exited(0)),
            ("0:125", End::Killed(9)),
            ("125", End::Killed(9)),
        ] {
            assert_eq!(parse_end(text), Some(end), "{text}");
        }
        assert_eq!(parse_end("x"), None);
    }

    #[test]
    fn a_state_is_a_result_where_it_says_more_than_an_exit_status() {
        let state = |word: &str| Job::parse(&RUNNING.replace("RUNNING", word)).unwrap();
        for plain in ["COMPLETED", "FAILED", "COMPLETING", "RUNNING", "PENDING"] {
            assert_eq!(state(plain).result(), None);
        }
        for word in ["TIMEOUT", "NODE_FAIL", "CANCELLED"] {
            assert_eq!(state(word).result().as_deref(), Some(word));
            assert!(!state(word).is_alive());
        }
    }

    #[test]
    fn what_is_no_line_of_squeue_is_no_job() {
        for line in [
            "",
            "squeue: error",
            "7|x|RUNNING",
            "7|1000|RUNNING|node1|test|a|b|c|0:01|59:59|0:0|4711",
        ] {
            assert_eq!(Job::parse(line), None, "{line:?}");
        }
    }
}
