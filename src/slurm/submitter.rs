//! The submitter: a child that is the target, submits the server's job, watches it until it listens, and cancels it
//! unless the caller learns of it.
//!
//! The job's process on the node (`node`) tells in the job's comment on which port its server listens, or why there is
//! none. Anybody may read comments, and the target may write any. The node is always Slurm's own word.

use std::fs::{DirBuilder, File};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ground::report::{Report, Setback};
use ground::waiting::wait_for_any;
use ground::wire::{DELIVERED, Wire};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::unistd::{getgid, getgroups, read};
use target::decision::read_request;
use target::grant::{Grant, Whom};
use target::launcher::job::LONGEST_SUBMISSION;
use target::request::about_job::JobId;
use target::request::{Request, Spawn};
use target::user_mode;

use crate::error::Error;
use crate::explanation::{describe, explain_delay, explain_end};
use crate::hub::is_for;
use crate::profile::Profile;
use crate::programs::Programs;
use crate::queue::{Job, Which, find_address, find_job, list_jobs};
use crate::seal::seal;
use crate::section::{Section, load_section};
use crate::submission::{Submission, name_job, signal_job};
use crate::ticket::write_ticket;
use crate::undoing::{Left, Undoing};
use crate::word::Word;

/// The longest time for each look at the queue.
const LONGEST_LOOK: Duration = Duration::from_secs(20);
/// The first pause between two looks at the queue, for a job that waits; it grows to
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The pause for a job that runs, whose server is about to listen.
const RUNNING_PAUSE: Duration = Duration::from_millis(400);
/// A pause is at least this many times as long as a look took, so that a busy controller is left alone.
const LOOK_SHARE: u32 = 10;
/// How long the mediator may take to write its reply.
const LONGEST_DELIVERY: Duration = Duration::from_secs(3600);

/// Submits the job of the request in this file, and stays until the caller has its reply, or the job is cancelled.
pub fn see_through(mut wire: Wire, request: &mut File) {
    let undoing = serve(&mut wire, request).unwrap_or_else(|error| {
        wire.send(&error.into());
        None
    });
    // The mediator replies now, and does not wait for a controller that is away.
    drop(wire);
    if let Some(undoing) = undoing {
        undoing.go_on();
    }
}

/// Returns what is left to do if there is no server.
fn serve(wire: &mut Wire, request: &mut File) -> Result<Option<Undoing>, Error> {
    let (policy, proof) = user_mode::admit(None)?;
    let whom = Whom::from(&proof);
    let bytes = read_request(request)?;
    let request = Request::parse(&bytes)?;
    let _ = Grant::decide(&policy, &whom, &request)?;
    let Request::Spawn(spawn) = request else {
        return Err(Error::at("reading the request")(Errno::EBADMSG));
    };
    let (text, section) = load_section()?;
    let profile = section.find_profile(spawn.profile.as_deref()).ok_or_else(|| {
        Error::ProfileUnknown { asked: spawn.profile.clone().unwrap_or_default() }
    })?;
    let programs = Programs::find(&section);
    let mut ticket = write_ticket(&text, &bytes)?;
    if !spawn.files.is_empty() {
        ticket = seal(&programs, &ticket, whom.uid)?;
    }
    let submitter = Submitter {
        section,
        programs,
        whom: &whom,
        limit: spawn.wait.map_or(Duration::ZERO, |wait| wait.limit),
        begun: Instant::now(),
        name: name_job(&spawn.server_name),
    };
    let (error, left) = match submitter.submit(&spawn, &profile, &ticket) {
        Ok(job) => match submitter.watch(job, wire) {
            Ok(true) => return Ok(None),
            watched => (watched.err(), Some(Left::Job(job))),
        },
        Err(error) => {
            let left = Left::find(&error);
            (Some(error), left)
        }
    };
    let Submitter { programs, name, .. } = submitter;
    let undoing = left.map(|left| Undoing { programs, name, uid: whom.uid, left });
    let undoing = undoing.filter(|undoing| !undoing.is_done());
    if let Some(error) = error {
        wire.send(&error.into());
    }
    Ok(undoing)
}

/// What does not change while a job is submitted and watched.
struct Submitter<'a> {
    section: Section,
    programs: Programs,
    whom: &'a Whom,
    limit: Duration,
    begun: Instant,
    name: String,
}

impl Submitter<'_> {
    fn submit(&self, spawn: &Spawn, profile: &Profile, ticket: &str) -> Result<JobId, Error> {
        self.check_groups(profile)?;
        profile.check(spawn.limits).map_err(|exceeded| Error::LimitExceedsPolicy {
            profile: profile.name.clone(),
            exceeded,
        })?;
        let output = self.prepare_output()?;
        let own = std::fs::read_link("/proc/self/exe").unwrap_or_default();
        let submission = Submission {
            name: &self.name,
            output: &output,
            options: profile.list_options(spawn.limits),
            binary: self.section.binary.as_deref().unwrap_or(&own),
            ticket,
        };
        Ok(submission.submit(&self.programs, LONGEST_SUBMISSION)?)
    }

    /// Whether the target is in one of the profile's groups. This process has no groups but the target's.
    fn check_groups(&self, profile: &Profile) -> Result<(), Error> {
        let mut own = getgroups().map_err(Error::at("getgroups"))?;
        own.push(getgid());
        if is_for(profile, &own) {
            return Ok(());
        }
        Err(Error::ProfileNotPermitted {
            target: self.whom.name.clone(),
            profile: profile.name.clone(),
            groups: profile.groups.join(", "),
        })
    }

    /// The job's output in sbatch's notation. Its directory is made, since Slurm ends a job without it, and says
    /// nothing.
    fn prepare_output(&self) -> Result<String, Error> {
        let home = self.whom.home.display().to_string();
        if home.contains('\\') {
            let reason = format!("Slurm cannot put a number into a path like {home:?}");
            return Err(Error::NoOutput(reason));
        }
        let output = self.section.name_output(&home.replace('%', "%%"), "%j");
        let path = PathBuf::from(self.section.name_output(&home, "%j"));
        let directory = path.parent().unwrap_or(Path::new("/"));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| Error::NoOutput(format!("{}: {error}", directory.display())))?;
        Ok(output)
    }

    /// Watches the job until its server listens and its caller knows. Returns false if the caller is gone.
    fn watch(&self, job: JobId, wire: &mut Wire) -> Result<bool, Error> {
        let mut pause = FIRST_PAUSE;
        let (mut told, mut last, mut failure);
        (told, last) = (None, None);
        loop {
            let look = Instant::now();
            failure = None;
            match find_job(&self.programs, job, LONGEST_LOOK) {
                Ok(Some(found)) => {
                    let mut news = describe(&found);
                    if told.is_none() {
                        // Only one job of a server is wanted: the last.
                        self.end_older(job);
                    }
                    if told.as_ref() != Some(&news) {
                        wire.send(&Report::Job(news.clone()));
                        told = Some(news.clone());
                        pause = FIRST_PAUSE;
                    }
                    // A job that waits has no node, whatever its comment says.
                    let node = found.host.as_ref().filter(|_| found.is_alive());
                    match (Word::read(&found.comment), node) {
                        (Some(Word::Listening(port)), Some(node)) => {
                            match find_address(&self.programs, node, LONGEST_LOOK) {
                                Ok(address) => {
                                    (news.host, news.port) = (Some(address), Some(port));
                                    wire.send(&Report::Job(news));
                                    return Ok(is_delivered(wire));
                                }
                                Err(other) => failure = Some(other),
                            }
                        }
                        (Some(Word::Failed { code, sentence }), _) => {
                            let setback = Setback { code, sentence, exit_status: 0 };
                            return Err(Error::Told(setback));
                        }
                        _ => {}
                    }
                    if !found.is_alive() && !found.is_completing() {
                        return Err(explain_end(&found, &self.find_output(job)));
                    }
                    last = Some(found);
                }
                Ok(None) => return Err(Error::JobLost { job: job.to_string() }),
                // The controller may be restarted meanwhile.
                Err(other) => failure = Some(other),
            }
            let left = self.limit.saturating_sub(self.begun.elapsed());
            if left.is_zero() {
                let output = self.find_output(job);
                return Err(explain_delay(job, last, failure, self.limit, &output));
            }
            let is_running = last.as_ref().is_some_and(|job: &Job| !job.is_pending());
            let usual = if is_running { RUNNING_PAUSE } else { pause };
            let busy = look.elapsed().saturating_mul(LOOK_SHARE).min(LONGEST_PAUSE);
            if is_told_within(wire, usual.max(busy).min(left)) {
                return Ok(false);
            }
            pause = pause.saturating_mul(3).div_f64(2.0).min(LONGEST_PAUSE);
        }
    }

    /// Ends the target's other jobs of this server's name that are older than this one. So two spawns of one server leave
    /// one job, and a job that was lost is found at the next start.
    fn end_older(&self, newest: JobId) {
        let which = Which::Called(&self.name, self.whom.uid);
        for other in list_jobs(&self.programs, which, LONGEST_LOOK).unwrap_or_default() {
            if other.id < newest {
                let _ = signal_job(&self.programs, other.id, None, LONGEST_LOOK);
            }
        }
    }

    /// The job's output as a path.
    fn find_output(&self, job: JobId) -> PathBuf {
        let home = self.whom.home.display().to_string();
        PathBuf::from(self.section.name_output(&home, &job.to_string()))
    }
}

/// Waits, and returns true as soon as the caller is gone, or has its reply.
fn is_told_within(wire: &Wire, limit: Duration) -> bool {
    let mut watched = [PollFd::new(wire.delivered.as_fd(), PollFlags::POLLIN)];
    wait_for_any(&mut watched, limit).is_ok_and(|events| events.contains(&true))
}

/// Waits for the word that the caller has its reply.
fn is_delivered(wire: &Wire) -> bool {
    let mut word = [0];
    is_told_within(wire, LONGEST_DELIVERY)
        && read(&wire.delivered, &mut word) == Ok(1)
        && word == [DELIVERED]
}
