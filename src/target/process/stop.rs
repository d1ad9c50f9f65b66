//! Ends a server in one call: SIGINT, SIGTERM, SIGKILL, and then everything that it left behind.

use std::time::{Duration, Instant};

use nix::libc;
use nix::unistd::Pid;

use super::census::list_descendants;
use super::identity::Identity;
use super::stat::Stat;
use super::{Process, poll_for_end};
use crate::error::Error;
use crate::files::remover::is_remover;
use crate::request::Stop;
use crate::supervisor;
use ground::ending;
use root::keeper;
use root::policy::file::Leftovers;
use root::privileges::Unprivileged;

/// What a stop found and did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stopped {
    /// Whether the server is still there in spite of all signals.
    pub alive: bool,
    /// How many processes outlived the server and were ended after it.
    pub leftovers_killed: usize,
    /// How long it took in total.
    pub took: Duration,
}

/// Ends the server and what it left behind.
///
/// The server's parent is its supervisor, which ends what is left after the server. This code then only
/// counts, and waits until the supervisor is gone, too. If the supervisor was killed, this code does its
/// work.
///
/// # Errors
/// [`Error::KernelUnsupported`].
pub fn stop_server(
    request: &Stop,
    leftovers: Leftovers,
    unprivileged: &Unprivileged,
) -> Result<Stopped, Error> {
    let begin = Instant::now();
    let mut stopped = Stopped { alive: false, leftovers_killed: 0, took: Duration::ZERO };
    if let Some(server) = Process::open(&request.server, unprivileged)? {
        // EPERM: the pid belongs to another account, so the server is gone.
        if server.signal(0).is_ok() {
            let supervisor = find_supervisor(&server, unprivileged)?;
            // Now, because a supervisor that has ended has no parent any more.
            let keeper = supervisor.as_ref().and_then(find_keeper);
            let top = supervisor.as_ref().map_or(server.pid, |supervisor| supervisor.pid);
            let mut relatives = open_relatives(top, server.pid, unprivileged);
            stopped.alive = !end_server(&server, &mut relatives, request);
            if !stopped.alive && leftovers == Leftovers::Kill {
                stopped.leftovers_killed = relatives.len();
                end_leftovers(supervisor, keeper, &relatives);
            }
        }
    }
    stopped.took = begin.elapsed();
    Ok(stopped)
}

fn find_supervisor(server: &Process, proof: &Unprivileged) -> Result<Option<Process>, Error> {
    let Some(stat) = Stat::read(server.pid) else {
        return Ok(None);
    };
    if !supervisor::is_supervisor(stat.parent) {
        return Ok(None);
    }
    let parent = Process::open(&Identity { pid: stat.parent, started: None }, proof)?;
    // Another account's process may have the supervisor's name. The kernel knows the owner.
    Ok(parent.filter(|parent| parent.signal(0).is_ok()))
}

/// All of the target's processes below `top`, except the server itself and what removes its files.
fn open_relatives(top: Pid, server: Pid, proof: &Unprivileged) -> Vec<Process> {
    list_descendants(top)
        .into_iter()
        .filter(|pid| *pid != server && !is_remover(*pid))
        // If no descriptor is left for a process, it is neither waited for nor counted.
        .filter_map(|pid| Process::open(&Identity { pid, started: None }, proof).ok().flatten())
        .collect()
}

/// Sends the signals of a request in turn, and returns whether the server has ended. Processes that end
/// before the server, such as kernels that it shuts down in order, are removed from `relatives`.
#[must_use]
pub fn end_server(server: &Process, relatives: &mut Vec<Process>, request: &Stop) -> bool {
    let phases = [
        (libc::SIGINT, request.interrupt),
        (libc::SIGTERM, request.term),
        (libc::SIGKILL, request.kill),
    ];
    for (signal, limit) in phases {
        if limit.is_zero() && signal != libc::SIGKILL {
            continue;
        }
        if let Err(errno) = server.signal(signal) {
            log::debug!("signal {signal} to {}: {errno}", server.pid);
        }
        // A stopped process would not react.
        let _ = server.signal(libc::SIGCONT);
        let begin = Instant::now();
        loop {
            let left = limit.saturating_sub(begin.elapsed());
            let mut all = vec![server];
            all.extend(relatives.iter());
            // If the kernel does not tell, as with a limit of one open file, none has ended.
            let ended = poll_for_end(&all, left).unwrap_or_default();
            if ended.first() == Some(&true) {
                return true;
            }
            let mut ended = ended.into_iter().skip(1);
            relatives.retain(|_| ended.next() != Some(true));
            if left.is_zero() {
                break;
            }
        }
    }
    false
}

/// Root's process that ends what hooks left after the supervisor has ended, found by its name.
fn find_keeper(supervisor: &Process) -> Option<Process> {
    let parent = Stat::read(supervisor.pid)?.parent;
    let line = std::fs::read(format!("/proc/{parent}/cmdline")).ok()?;
    let is_keeper = line.split(|byte| *byte == 0).next() == Some(keeper::NAME.as_bytes());
    if is_keeper { Process::hold(parent).ok() } else { None }
}

fn end_leftovers(supervisor: Option<Process>, keeper: Option<Process>, leftovers: &[Process]) {
    let is_done = supervisor.is_some_and(|supervisor| {
        // The account can stop the supervisor, too.
        let _ = supervisor.signal(libc::SIGCONT);
        let has_ended = supervisor.wait(ending::LONGEST_ENDING);
        if !has_ended {
            log::warn!("the process {} has not ended in time, and is killed", supervisor.pid);
            let _ = supervisor.signal(libc::SIGKILL);
        }
        has_ended
    });
    if !is_done {
        end_by_hand(leftovers);
    }
    if keeper.is_some_and(|keeper| !keeper.wait(ending::LONGEST_ENDING)) {
        log::warn!("what hooks left, or a hook after the server, has not ended in time");
    }
}

fn end_by_hand(leftovers: &[Process]) {
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let begin = Instant::now();
        for process in leftovers {
            // ESRCH is the aim. EPERM means a program that became another account, which is not ours to end.
            let _ = process.signal(signal);
        }
        for process in leftovers {
            let _ = process.wait(ending::GRACE.saturating_sub(begin.elapsed()));
        }
    }
}
