//! What the mediator, which is nobody, and the monitor say to each other in root mode.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ground::denial::Denial;
use ground::ending::LONGEST_ENDING;
use ground::report::Report;
use ground::server_name::ServerName;
use ground::waiting::{LONGEST_LOOKUP, wait_for_any};
use ground::wire::{Link, stdout_to_caller};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::unistd::Uid;
use root::foreground::{BLOCK, SEALS};
use root::monitor::Monitor;
use root::policy::file::Policy;
use root::unit_properties::Limits;

use crate::error::Error;
use crate::grant::Whom;
use crate::request::Request;

/// How much longer than its own time limit the monitor may take to say whom it has admitted.
const MARGIN: Duration = Duration::from_secs(15);
/// How often it asks the account database where it has an account made.
const LOOK_UPS: u32 = 5;

/// Waits until root has decided whom it acts for.
///
/// # Errors
/// Root's denial; [`Denial::AccountTimeout`] and [`Denial::CallerGone`].
pub fn await_admission(monitor: &mut Monitor, name: &str, policy: &Policy) -> Result<Whom, Error> {
    let limit = find_longest_admission(policy).saturating_add(MARGIN);
    // The monitor ends without a word if a look-up takes too long.
    match read_next(&mut monitor.link, limit) {
        Ok(Some(Report::Admitted(uid, home))) => {
            let (uid, shell) = (Uid::from_raw(uid), PathBuf::new());
            Ok(Whom { name: name.to_owned(), uid, home: home.into(), shell })
        }
        Ok(Some(Report::Denied(setback))) => Err(Error::Reported(setback)),
        Err(Error::Denied(Denial::CallerGone)) => Err(Denial::CallerGone.into()),
        _ => Err(Denial::AccountTimeout.into()),
    }
}

fn find_longest_admission(policy: &Policy) -> Duration {
    let look_up = Duration::from_secs(LONGEST_LOOKUP.into());
    if policy.accounts.create.is_none() {
        return look_up;
    }
    // The program of another call may run before its own, each with its ending.
    let programs = policy.accounts.timeout.saturating_add(LONGEST_ENDING).saturating_mul(2);
    look_up.saturating_mul(LOOK_UPS).saturating_add(programs)
}

/// Waits for the reply that the agent has written for the caller.
///
/// # Errors
/// What the agent reports; [`Error::TargetUnresponsive`] and [`Denial::CallerGone`].
pub fn await_answer(link: &mut Link, limit: Duration, target: &str) -> Result<String, Error> {
    match read_next(link, limit) {
        Ok(Some(Report::Answer(text))) => Ok(text),
        Ok(Some(Report::Denied(setback) | Report::Failed(setback))) => {
            Err(Error::Reported(setback))
        }
        Ok(Some(_)) => Err(Error::at("asking the monitor")(Errno::EBADMSG)),
        Ok(None) => Err(Error::silence_of(target, limit)),
        Err(Error::Denied(Denial::LaunchFailed { .. })) => Err(Error::TargetUnresponsive {
            target: target.to_owned(),
            reason: "has ended without an answer".to_owned(),
        }),
        Err(error) => Err(error),
    }
}

/// The next report; `None` if it takes longer than `limit`, and an error if nobody is left to write or to read
/// one.
fn read_next(link: &mut Link, limit: Duration) -> Result<Option<Report>, Error> {
    let begin = Instant::now();
    loop {
        let left = limit.saturating_sub(begin.elapsed());
        let stdout = stdout_to_caller();
        // No event is requested for stdout: poll(2) reports without a request that no reader is left.
        let mut watched = [
            PollFd::new(link.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdout.as_fd(), PollFlags::empty()),
        ];
        let events = wait_for_any(&mut watched, left).map_err(Error::at("poll"))?;
        match events.as_slice() {
            [true, _] => return Ok(Some(link.read_report()?)),
            [_, true] => return Err(Denial::CallerGone.into()),
            _ if left.is_zero() => return Ok(None),
            _ => {}
        }
    }
}

/// Has root write the decision to the authentication log, and nothing else.
pub fn tell(mut monitor: Monitor, action: &str, code: &str) {
    let _ = monitor.decision.write_all(format!("{action}\n{code}\n").as_bytes());
}

/// Has a granted request carried out: root records the decision, and what follows gets the request's bytes.
///
/// # Errors
/// [`Denial::LaunchFailed`].
pub fn have_carried_out(
    monitor: Monitor,
    bytes: &[u8],
    action: &str,
    name: &ServerName,
    limits: Limits,
) -> Result<Link, Denial> {
    match leave_request(&monitor, bytes, name) {
        Ok(()) => approve(monitor, action, name, limits),
        Err(denial) => {
            tell(monitor, action, denial.classify().0);
            Err(denial)
        }
    }
}

fn leave_request(monitor: &Monitor, request: &[u8], name: &ServerName) -> Result<(), Denial> {
    write_request(&monitor.request, request, name)
}

/// Writes a request, and the server's name in front of it, into a file in memory that nobody can change any more.
///
/// # Errors
/// [`Denial::LaunchFailed`].
pub fn write_request(file: &File, request: &[u8], name: &ServerName) -> Result<(), Denial> {
    file.write_all_at(&name_to_block(name), 0)
        .and_then(|()| file.write_all_at(request, BLOCK as u64))
        .map_err(|error| Denial::at("writing the request")(to_errno(&error)))?;
    fcntl(file, FcntlArg::F_ADD_SEALS(SEALS)).map(drop).map_err(Denial::at("sealing"))
}

/// The name as it stands in front of a request.
fn name_to_block(name: &ServerName) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block.iter_mut().zip(name.as_str().bytes()).for_each(|(place, byte)| *place = byte);
    block
}

fn approve(
    mut monitor: Monitor,
    action: &str,
    name: &ServerName,
    limits: Limits,
) -> Result<Link, Denial> {
    let to_text = |limit: Option<String>| limit.unwrap_or_default();
    let memory = to_text(limits.memory.map(|bytes| bytes.to_string()));
    let cpus = to_text(limits.cpus.map(|cpus| cpus.to_string()));
    let order = format!("{action}\nok\n{}\n{memory}\n{cpus}", name.as_str());
    monitor
        .decision
        .write_all(order.as_bytes())
        .map_err(|error| Denial::at("telling the monitor")(to_errno(&error)))?;
    Ok(monitor.link)
}

/// Reads the request that the mediator has left after the server's name, in a process that has become the
/// target.
///
/// # Errors
/// Those of [`Request::parse`]; [`Denial::LaunchFailed`] if there is none.
pub fn take_request(file: &mut File) -> Result<Request, Error> {
    Request::parse(&read_request(file)?)
}

/// The bytes of that request.
///
/// # Errors
/// [`Denial::LaunchFailed`].
pub fn read_request(file: &mut File) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(BLOCK as u64))
        .and_then(|_| file.read_to_end(&mut bytes))
        .map_err(|_| Error::at("reading the request")(Errno::EIO))?;
    Ok(bytes)
}

fn to_errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
