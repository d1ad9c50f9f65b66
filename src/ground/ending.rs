//! Ends all descendants of this process, and never a stranger.
//!
//! This process is a subreaper: the children of a dead child become its own, in whatever session they are. So
//! signals to the direct children reach every descendant in the end. The kernel does not reuse a child's pid
//! before this process has reaped the child.

use std::fs::read_to_string;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill, killpg, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::control_group::list_below;
use crate::pidfd::Pidfd;
use crate::report::End;
use crate::waiting::wait_for_any;

/// How long SIGTERM may take before SIGKILL follows.
pub const GRACE: Duration = Duration::from_secs(3);
/// How often to look for newly adopted children during an ending.
pub const INTERVAL: Duration = Duration::from_millis(50);
/// After this time any ending is over, a supervisor's too: what cannot be killed is not waited for.
pub const LONGEST_ENDING: Duration = Duration::from_secs(15);
/// How long to wait after SIGKILL. What has not ended by then cannot be ended.
const LAST_WAIT: Duration = Duration::from_secs(7);

/// An ending in progress: SIGTERM first, SIGKILL after the grace period.
#[derive(Debug)]
pub struct Ending {
    since: Instant,
    grace: Duration,
    /// The children that have had their SIGTERM.
    warned: Vec<Pid>,
}

impl Ending {
    /// Starts an ending.
    #[must_use]
    pub fn begin(grace: Duration) -> Self {
        Self { since: Instant::now(), grace, warned: Vec::new() }
    }

    /// Sends each of these children the signal that is due now.
    pub fn signal(&mut self, children: &[Pid]) {
        self.signal_by(children, |child, signal| {
            let _ = kill(child, signal);
        });
    }

    fn signal_by(&mut self, processes: &[Pid], send: impl Fn(Pid, Signal)) {
        let out_of_patience = self.since.elapsed() >= self.grace;
        self.warned.retain(|warned| processes.contains(warned));
        for process in processes {
            if out_of_patience {
                send(*process, Signal::SIGKILL);
            } else if !self.warned.contains(process) {
                send(*process, Signal::SIGTERM);
                self.warned.push(*process);
            }
        }
    }

    /// Whether there is nothing more to do, even if something is left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.since.elapsed() >= self.grace.saturating_add(LAST_WAIT)
    }
}

/// Ends all children of this process and their descendants, and waits for them.
pub fn end_children(grace: Duration) {
    finish(Ending::begin(grace));
}

/// The same, if this child leads a session and has not been reaped. First the whole process group of the leader
/// gets SIGTERM, as if from a terminal: a shell runs its trap only when the command that it waits for has ended.
pub fn end_session(leader: Pid, grace: Duration) {
    let mut ending = Ending::begin(grace);
    let _ = killpg(leader, Signal::SIGTERM);
    ending.warned.push(leader);
    finish(ending);
}

/// Ends all processes of the control group in this place but this one, and waits for them.
pub fn end_group(place: &Path, grace: Duration) {
    let list = || -> Vec<Pid> {
        list_below(place).into_iter().filter(|pid| *pid != Pid::this()).collect()
    };
    let mut ending = Ending::begin(grace);
    while !ending.is_over() {
        let held = list().into_iter().filter_map(|pid| Some((pid, Pidfd::open(pid).ok()?)));
        let held: Vec<(Pid, Pidfd)> = held.collect();
        // What is still in the group is what its descriptor holds, or another process of the group.
        let left = list();
        if left.is_empty() {
            return;
        }
        let find = |pid: &Pid| held.iter().find(|(one, _)| one == pid).map(|(_, held)| held);
        let known: Vec<Pid> = left.into_iter().filter(|pid| find(pid).is_some()).collect();
        ending.signal_by(&known, |pid, signal| {
            let _ = find(&pid).map(|held| held.send_signal(signal as i32));
        });
        let _ = wait_for_any(&mut [], INTERVAL);
    }
}

fn finish(mut ending: Ending) {
    while has_children() && !ending.is_over() {
        ending.signal(&list_children());
        let _ = wait_for_any(&mut [], INTERVAL);
    }
}

/// The children of this process.
#[must_use]
pub fn list_children() -> Vec<Pid> {
    list_children_of(Pid::this())
}

/// The children of a process. The kernel lists them for each thread, and so looks at no other process.
#[must_use]
pub fn list_children_of(process: Pid) -> Vec<Pid> {
    let threads =
        std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| read_to_string(thread.path().join("children")).ok());
    let text = lists.collect::<Vec<_>>().join(" ");
    let pids = text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
    pids.map(Pid::from_raw).collect()
}

/// Reaps what has ended, and returns whether any children are left.
#[must_use]
pub fn has_children() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}

/// Ends this process as another one ended, for whoever waits for it. Returns only if that was no signal, or if the
/// signal ends no process.
#[must_use]
pub fn end_like(end: End) -> ExitCode {
    match end {
        End::Exited(status) => ExitCode::from(u8::try_from(status & 0xff).unwrap_or(1)),
        End::Killed(number) => {
            if let Ok(signal) = Signal::try_from(number) {
                let _ = SigSet::from(signal).thread_unblock();
                let _ = raise(signal);
            }
            ExitCode::from(u8::try_from(number.saturating_add(128)).unwrap_or(1))
        }
    }
}
