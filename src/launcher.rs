//! Starts a server and stays until it is up, has failed, or nobody waits for it any more.

pub mod listener;
pub mod process;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::environment::Environment;
use crate::error::Error;
use crate::escape::{Lines, escape_control_characters};
use crate::privileges::Unprivileged;
use crate::process::{End, Identity, Started};
use crate::reply::{self, Event, Reply};
use crate::request::{Spawn, Wait};
use crate::server::Executable;
use crate::supervisor::report::Report;

use listener::Listening;
use process::Link;

/// Without `wait`, an end within this time is an early one, as with the Python sudospawner.
const EARLY: Duration = Duration::from_secs(1);
/// How often the kernel's list of sockets is read; there is no event for a socket that listens.
const LISTEN_INTERVAL: Duration = Duration::from_millis(10);
/// After a look at the list, the pause is this many times as long as the look, so that fifty servers
/// that start at once do not wait for their mediators: the kernel walks through all of its table of
/// connections, which takes milliseconds on a machine with much memory.
const LOOK_SHARE: u32 = 30;
/// But no user waits longer than this for a server that listens already.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A server that was started, until its caller has been told: dropped before
/// [`Launched::deliver`], the server is ended.
#[derive(Debug)]
#[must_use]
pub struct Launched {
    link: Link,
    reply: Reply,
}

impl Launched {
    /// Writes the reply. Only then the server is the caller's; if it cannot be written, the server
    /// ends.
    pub fn deliver(self) {
        match self.reply.write() {
            Ok(()) => self.link.confirm_delivery(),
            Err(error) => log::warn!("the reply was not read ({error}), so the server is ended"),
        }
    }
}

/// Starts the server, and waits as the request says.
///
/// # Errors
/// Everything that can be wrong with a server: [`Error::ServerMissing`],
/// [`Error::ServerNotExecutable`], [`Error::HomeMissing`], [`Error::ExecFailed`],
/// [`Error::ExitedEarly`], [`Error::PortTaken`], [`Error::LaunchFailed`], [`Error::CallerGone`].
/// In each case no process of the server is left.
pub fn launch_server(spawn: Spawn, unprivileged: &Unprivileged) -> Result<Launched, Error> {
    let executable = Executable::find(unprivileged)?;
    let environment = Environment::prepare(spawn.env)?;
    log::info!("starting {} for {}", executable.path().display(), unprivileged.target().name);
    let link = process::start(&executable, &spawn.args, &environment.variables, unprivileged)?;
    let mut watch = Watch {
        link,
        server: None,
        wait: spawn.wait,
        announce: spawn.events,
        pause: LISTEN_INTERVAL,
    };
    match watch.until_up(&executable, unprivileged) {
        Ok(listening) => {
            let (pid, started) =
                watch.server.map_or((0, None), |server| (server.pid.as_raw(), server.started));
            let dropped_env = environment.dropped;
            let reply =
                Reply::Spawned { ok: true, pid, started, listening, hooks: [], dropped_env };
            Ok(Launched { link: watch.link, reply })
        }
        Err(error) => {
            // The caller may try again at once: what it started must be gone by then.
            watch.link.wait_for_undoing();
            Err(error)
        }
    }
}

/// The wait for a server to be up.
struct Watch {
    link: Link,
    server: Option<Identity>,
    wait: Option<Wait>,
    announce: bool,
    /// How long to pause before the next look at the sockets.
    pause: Duration,
}

impl Watch {
    /// Returns when the server is up: with `wait`, whether it listens.
    fn until_up(
        &mut self,
        executable: &Executable,
        unprivileged: &Unprivileged,
    ) -> Result<Option<bool>, Error> {
        let limit = self.wait.map_or(EARLY, |wait| wait.limit);
        let begin = Instant::now();
        loop {
            let left = limit.saturating_sub(begin.elapsed());
            if self.wait_for_report(left)? {
                match self.link.read_report()? {
                    Report::Server(pid) => self.announce_server(pid),
                    Report::Refused(refusal) => {
                        return Err(executable.explain(refusal, unprivileged));
                    }
                    Report::Failed(errno) => {
                        return Err(Error::LaunchFailed { step: "the supervisor", errno });
                    }
                    // As upstream has it: nobody waits for a port, and an end in peace is none
                    // of our business.
                    Report::Ended(End::Exited(0)) if self.wait.is_none() => return Ok(None),
                    Report::Ended(end) => {
                        let stderr = escape_control_characters(&self.link.read_tail(), Lines::Many);
                        return Err(Error::ExitedEarly { end, stderr });
                    }
                }
            } else if let (Some(wait), Some(server)) = (self.wait, &self.server) {
                let look = Instant::now();
                let uid = unprivileged.target().uid;
                let listening = listener::find_listeners(server.pid, wait.port, uid);
                let pause = look.elapsed().saturating_mul(LOOK_SHARE);
                self.pause = pause.clamp(LISTEN_INTERVAL, LONGEST_PAUSE);
                match listening {
                    Listening::Target => return Ok(Some(true)),
                    Listening::Other(uid) => return Err(Error::PortTaken { port: wait.port, uid }),
                    Listening::Nobody if left.is_zero() => return Ok(Some(false)),
                    Listening::Nobody => {}
                }
            } else if left.is_zero() {
                return Ok(self.wait.map(|_| false));
            }
        }
    }

    fn announce_server(&mut self, pid: nix::unistd::Pid) {
        let server = Identity { pid, started: Started::of(pid) };
        if self.announce {
            Event::started(pid, server.started.clone()).write();
        }
        self.server = Some(server);
    }

    /// Waits for a report, at most until it is time to look at the sockets again; whether there is
    /// one.
    fn wait_for_report(&self, left: Duration) -> Result<bool, Error> {
        let pause = if self.wait.is_some() { left.min(self.pause) } else { left };
        // No event is asked of stdout: what poll(2) tells without being asked is that nobody is
        // left to read it.
        let stdout = reply::descriptor();
        let mut watched = [
            PollFd::new(self.link.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdout.as_fd(), PollFlags::empty()),
        ];
        let timeout = PollTimeout::try_from(pause.saturating_add(Duration::from_micros(999)));
        match poll(&mut watched, timeout.unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::LaunchFailed { step: "poll", errno }),
        }
        let [report, caller] = watched;
        if caller.any().unwrap_or(false) {
            return Err(Error::CallerGone);
        }
        Ok(report.any().unwrap_or(false))
    }
}
