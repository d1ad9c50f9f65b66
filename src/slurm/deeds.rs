//! A kill, a stop or a status of a server in a job.

use std::fs::File;
use std::time::{Duration, Instant};

use ground::waiting::wait_for_any;
use nix::errno::Errno;
use nix::libc;
use nix::unistd::Uid;
use target::decision::take_request;
use target::grant::{Grant, Whom};
use target::process::stop::Stopped;
use target::reply::{JobStatus, Reply};
use target::request::Request;
use target::request::about_job::{AboutJob, Deed};
use target::user_mode;

use crate::error::Error;
use crate::programs::Programs;
use crate::queue::{Job, Which, list_jobs};
use crate::section::load_section;
use crate::submission::{name_job, signal_job};

/// The longest time for one call of Slurm's programs: less than the class waits.
const LONGEST_CALL: Duration = Duration::from_secs(20);
/// The pause between two looks at a job that is being ended. It grows to
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Reads the request in this file, and carries it out as the target. Returns the reply's text.
///
/// # Errors
/// [`Failure`](crate::programs::Failure), and those of a request.
pub fn act(request: &mut File) -> Result<String, Error> {
    let (policy, proof) = user_mode::admit(None)?;
    let whom = Whom::from(&proof);
    let request = take_request(request)?;
    let _ = Grant::decide(&policy, &whom, &request)?;
    let Request::AboutJob(about) = request else {
        return Err(Error::at("reading the request")(Errno::EBADMSG));
    };
    let (_, section) = load_section()?;
    let name = name_job(&about.server_name);
    let deed = Act { programs: Programs::find(&section), about, name, uid: whom.uid };
    deed.carry_out().map(|reply| reply.to_text())
}

struct Act {
    programs: Programs,
    about: AboutJob,
    /// The name of the server's jobs.
    name: String,
    uid: Uid,
}

impl Act {
    fn carry_out(&self) -> Result<Reply, Error> {
        let found = self.look()?;
        match self.about.deed {
            Deed::Status => Ok(found.map_or_else(|| Reply::status(None), |job| describe(&job))),
            Deed::Kill(signal) => match found.filter(Job::is_alive) {
                Some(job) if signal != 0 => self.signal(&job, signal).map(Reply::signalled),
                job => Ok(Reply::signalled(job.is_some())),
            },
            Deed::Stop { interrupt, term, kill } => {
                let begun = Instant::now();
                let is_left = found.is_some_and(|job| job.is_alive() || job.is_completing());
                let is_left = is_left && self.end(interrupt, term.saturating_add(kill))?;
                Ok(Reply::stopped(Stopped {
                    alive: is_left,
                    leftovers_killed: 0,
                    took: begun.elapsed(),
                }))
            }
        }
    }

    /// The job, if Slurm knows it, and if it is the target's and the one that the caller means. Jobs of the target's that
    /// are no server's have other names.
    fn look(&self) -> Result<Option<Job>, Error> {
        let which = Which::OneCalled(self.about.job, &self.name);
        let found = list_jobs(&self.programs, which, LONGEST_CALL)?.into_iter().next();
        let is_meant = |job: &Job| self.about.started.as_ref().is_none_or(|it| *it == job.started);
        Ok(found.filter(|job| job.uid == self.uid && is_meant(job)))
    }

    /// Sends a signal to the server, which passes through the script's process. SIGKILL is for the whole job, and so is
    /// each signal for one that waits: it has no process yet, and scancel would wait for one.
    fn signal(&self, job: &Job, signal: i32) -> Result<bool, Error> {
        let number = match signal {
            libc::SIGKILL => None,
            _ if job.is_pending() => None,
            _ => Some(signal),
        };
        signal_job(&self.programs, self.about.job, number, LONGEST_CALL)?;
        Ok(true)
    }

    /// Ends the job, and returns whether something of it is left.
    fn end(&self, interrupt: Duration, patience: Duration) -> Result<bool, Error> {
        let running = self.look()?.filter(|job| job.is_alive() && !job.is_pending());
        if let (Some(job), false) = (running, interrupt.is_zero()) {
            self.signal(&job, libc::SIGINT)?;
            if !self.is_left_after(interrupt)? {
                return Ok(false);
            }
        }
        // SIGTERM for all processes of the job, and SIGKILL after Slurm's KillWait.
        signal_job(&self.programs, self.about.job, None, LONGEST_CALL)?;
        self.is_left_after(patience)
    }

    /// Waits until nothing of the job is left on its node, and returns false then.
    fn is_left_after(&self, limit: Duration) -> Result<bool, Error> {
        let (begun, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let is_left = self.look()?.is_some_and(|job| job.is_alive() || job.is_completing());
            let left = limit.saturating_sub(begun.elapsed());
            if !is_left || left.is_zero() {
                return Ok(is_left);
            }
            let _ = wait_for_any(&mut [], pause.min(left));
            pause = pause.saturating_mul(3).div_f64(2.0).min(LONGEST_PAUSE);
        }
    }
}

fn describe(job: &Job) -> Reply {
    if !job.is_alive() {
        let is_known = !job.is_completing();
        return Reply::ended(is_known.then_some(job.end), job.result());
    }
    Reply::JobStatus(JobStatus {
        ok: true,
        alive: true,
        job: job.id,
        state: job.state.clone(),
        host: job.host.clone(),
        uid: job.uid.as_raw(),
        uptime: job.used.unwrap_or_default().as_secs_f64(),
        remaining: job.left.map(|left| left.as_secs_f64()),
    })
}
