//! Servers in jobs: hands the request to `sudospawner-slurm`, which runs as the target, and waits for what it reports.
//!
//! That program has the conversation with Slurm, and ends the job if the mediator goes away. It is beside our own, and
//! sudo permits nobody to call it.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use ground::denial::Denial;
use ground::escape::{Lines, escape_control_characters};
use ground::report::{JobNews, Report};
use ground::server_name::ServerName;
use ground::system_calls;
use ground::waiting::wait_for_any;
use ground::wire::{Link, Wire, stdout_to_caller};
use nix::poll::{PollFd, PollFlags};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ForkResult;
use root::privileges::Unprivileged;
use root::trusted_file::{Distrust, check_trusted};

use super::told::Hooks;
use crate::decision::write_request;
use crate::error::Error;
use crate::grant::Grant;
use crate::mode::Mode;
use crate::reply::Event;

/// The program beside our own.
const PROGRAM: &str = "sudospawner-slurm";
/// The word with which it submits a job,
pub const SUBMIT: &str = "submit";
/// and with which it acts on one.
pub const ACT: &str = "act";
/// The longest time for the submission itself: a busy controller takes a while.
pub const LONGEST_SUBMISSION: Duration = Duration::from_secs(60);
/// How much longer than the request says the submitter may need: calls of Slurm's programs have limits of their own.
const MARGIN: Duration = Duration::from_secs(60);
/// How many events are written of one job. One whose state changes more often is not described to its end.
const MOST_EVENTS: u32 = 256;

/// For user mode: hands the request to the program in a child of this process, which is already the target.
///
/// # Errors
/// [`Denial::LaunchFailed`].
pub fn start(
    word: &str,
    request: &[u8],
    name: &ServerName,
    mode: Mode,
    proof: &Unprivileged,
) -> Result<Link, Error> {
    let (mut wire, link) = Wire::open()?;
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create("request", flags).map_err(Error::at("memfd"))?);
    write_request(&file, request, name)?;
    match system_calls::fork().map_err(Error::at("fork"))? {
        ForkResult::Parent { .. } => Ok(link),
        ForkResult::Child => {
            drop(link);
            let error = match wire.detach() {
                Ok(()) => become_program(word, &wire, &file, mode, proof),
                Err(denial) => denial.into(),
            };
            wire.send(&error.into());
            system_calls::exit_now(1)
        }
    }
}

/// Becomes the program, in a process that is the target. Returns only on failure, with the reason.
#[must_use]
pub fn become_program(
    word: &str,
    wire: &Wire,
    request: &File,
    mode: Mode,
    _: &Unprivileged,
) -> Error {
    let path = system_calls::find_beside(PROGRAM);
    if mode == Mode::Root {
        match check_trusted(&path) {
            Ok(_) | Err(Distrust::Closed(..)) => {}
            Err(distrust) => return Error::ServerUntrusted(distrust.to_string()),
        }
    }
    let pipes = [request.as_fd(), wire.reports.as_fd(), wire.delivered.as_fd()];
    let numbers = pipes.map(|pipe| pipe.as_raw_fd().to_string());
    let words = [path.display().to_string(), word.to_owned()].into_iter().chain(numbers);
    let argv: Vec<CString> = words.flat_map(CString::new).collect();
    let errno = system_calls::execute(&path, &argv, &pipes);
    let reason = format!("{errno}: install it beside sudospawner");
    Error::ExecFailed { path, reason }
}

/// Waits until the server listens on its node, at most about as long as `limit` after its job was submitted. Returns the
/// job, and the port.
///
/// # Errors
/// What the program reports; [`Error::TargetUnresponsive`] and [`Denial::CallerGone`].
pub fn until_listening(
    link: &mut Link,
    limit: Duration,
    grant: Grant<'_>,
    hooks: &mut Hooks,
) -> Result<(JobNews, u16), Error> {
    // Before there is a job, each hook has its own time, and the submission.
    let silence =
        grant.policy().hooks.timeout.saturating_add(LONGEST_SUBMISSION).saturating_add(MARGIN);
    let (mut since, mut patience, mut events) = (Instant::now(), silence, 0_u32);
    let mut has_job = false;
    loop {
        let left = patience.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Err(Error::silence_of(&grant.whom().name, patience));
        }
        if !link.has_received() {
            let stdout = stdout_to_caller();
            // No event is requested for stdout: poll(2) reports without a request that no reader is left.
            let mut watched = [
                PollFd::new(link.as_fd(), PollFlags::POLLIN),
                PollFd::new(stdout.as_fd(), PollFlags::empty()),
            ];
            match wait_for_any(&mut watched, left).map_err(Error::at("poll"))?.as_slice() {
                [_, true] => return Err(Denial::CallerGone.into()),
                [true, _] => {}
                _ => continue,
            }
        }
        match link.read_report()? {
            Report::Hook(result) if !has_job => {
                hooks.take(result);
                since = Instant::now();
            }
            Report::Job(JobNews { port: Some(port), .. }) if !has_job => {
                log::error!("a report of a server on port {port}, but of no job");
            }
            Report::Job(news @ JobNews { port: Some(port), .. }) => return Ok((news, port)),
            Report::Job(news) => {
                if !has_job {
                    (has_job, since) = (true, Instant::now());
                    patience = limit.saturating_add(MARGIN);
                    log::info!("{}'s server is the job {}", grant.whom().name, news.job);
                }
                events = events.saturating_add(1);
                if hooks.announce && events <= MOST_EVENTS {
                    Event::Job(news).write();
                }
            }
            Report::JobEnded { end, result, hint, tail } => {
                let stderr = escape_control_characters(tail.as_bytes(), Lines::Many);
                return Err(Error::ExitedEarly { end, result, hint, stderr });
            }
            Report::Warning(sentence) => log::warn!("{sentence}"),
            Report::Denied(setback) | Report::Failed(setback) => {
                return Err(Error::Reported(setback));
            }
            // Nobody has asked for these.
            _ => {}
        }
    }
}
