//! Waits for a server to be up.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use nix::unistd::{Pid, Uid};

use super::listener::{self, Listening};
use super::told::Hooks;
use super::unit::{ask_unit, read_journal};
use crate::error::Error;
use crate::grant::Grant;
use crate::process::Process;
use crate::process::identity::{Identity, Started};
use crate::reply::Event;
use crate::request::Wait;
use crate::server::choose_directory;
use crate::supervisor::relay::TAIL_BYTES;
use ground::denial::Denial;
use ground::escape::{Lines, escape_control_characters};
use ground::mounts::describe_mount;
use ground::report::{End, HookResult, Report};
use ground::waiting::wait_for_any;
use ground::wire::{Link, stdout_to_caller};

/// Without `wait`, an end within this time is early, as with the Python sudospawner.
const EARLY: Duration = Duration::from_secs(1);
/// The shortest time in which a server's process has to enter its directory, whatever the caller says, since a
/// busy machine takes a moment even if the directory answers at once,
const SHORTEST_ENTRY: Duration = Duration::from_secs(5);
/// and the time without `wait`.
const USUAL_ENTRY: Duration = Duration::from_secs(30);
/// How long nothing may be heard of a launch before there is a server, in addition to the time of a hook,
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// and if systemd starts a unit, which may take ten minutes.
const UNIT_SILENCE: Duration = Duration::from_secs(660);
/// How often the kernel's list of sockets is read. There is no event for a listening socket.
const LISTEN_INTERVAL: Duration = Duration::from_millis(10);
/// The pause after reading the list is this many times as long as the reading. The kernel walks its whole
/// table of connections, which takes milliseconds on a machine with much memory. Without the pause, fifty
/// servers that start at once would wait for their mediators.
const LOOK_SHARE: u32 = 30;
/// The longest time that a user waits for a server that already listens.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Where a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Beside us, with a supervisor that reports its end.
    Process,
    /// In a unit. Its main process shows the end.
    Unit,
}

/// What is known of a launch so far.
pub struct Watch {
    link: Link,
    place: Place,
    /// The server's process in a unit, where no parent of ours can report its end.
    process: Option<Process>,
    server: Option<Identity>,
    /// Whether the server's process has found the server's file.
    has_found: bool,
    /// Whether the server's process is in its directory. Until then it may wait for a file server.
    has_entered: bool,
    /// When the server's time begins. The time for hooks does not count.
    since: Instant,
    wait: Option<Wait>,
    announce: bool,
    hooks: Hooks,
    /// When the last report came.
    last_word: Instant,
    /// How long to pause before the next look at the sockets.
    pause: Duration,
}

impl Watch {
    /// Begins to watch a launch. With `announce`, events are written.
    #[must_use]
    pub fn new(link: Link, place: Place, wait: Option<Wait>, announce: bool) -> Self {
        let now = Instant::now();
        Self {
            link,
            place,
            process: None,
            server: None,
            has_found: false,
            has_entered: false,
            since: now,
            wait,
            announce,
            hooks: Hooks::new(announce),
            last_word: now,
            pause: LISTEN_INTERVAL,
        }
    }

    /// The connection to the server's supervisor, and the results of the hooks.
    #[must_use]
    pub fn into_parts(self) -> (Link, Vec<HookResult>) {
        (self.link, self.hooks.results)
    }

    /// The pid, and which process that is.
    pub fn identify_server(&mut self) -> (i32, Option<Started>) {
        self.server.take().map_or((0, None), |server| {
            (server.pid.as_raw(), server.started.or_else(|| Started::of(server.pid)))
        })
    }

    /// Returns when the server is up. With `wait`, returns whether it listens.
    ///
    /// # Errors
    /// Why it is not up and never will be.
    pub fn until_up(&mut self, directory: &Path, grant: Grant<'_>) -> Result<Option<bool>, Error> {
        let whom = grant.whom();
        let silence = if self.place == Place::Unit { UNIT_SILENCE } else { LONGEST_SILENCE };
        let silence = silence.saturating_add(grant.policy().hooks.timeout);
        loop {
            let left = self.find_limit().saturating_sub(self.since.elapsed());
            let has_report = self.wait_for_report(left)?;
            if has_report {
                self.last_word = Instant::now();
                match self.link.read_report()? {
                    // Beside the Hub, root reports nothing after the server's pid: later reports come from
                    // the account's own processes. For a unit, the monitor keeps reporting.
                    Report::Denied(_) if self.server.is_some() && self.place == Place::Process => {}
                    Report::Hook(_) | Report::Server(_) if self.server.is_some() => {}
                    Report::Hook(result) => self.hooks.take(result),
                    Report::Warning(sentence) => log::warn!("{sentence}"),
                    Report::Server(pid) => self.announce_server(Pid::from_raw(pid)),
                    Report::Found => self.has_found = true,
                    Report::Entered(ticks) => self.begin_to_wait(ticks),
                    Report::Denied(setback) | Report::Failed(setback) => {
                        return Err(Error::Reported(setback));
                    }
                    // As upstream: nobody waits for a port, so an end with status 0 is not our business.
                    Report::Ended(End::Exited(0), _) if self.wait.is_none() => return Ok(None),
                    Report::Ended(end, tail) => {
                        let stderr = escape_control_characters(tail.as_bytes(), Lines::Many);
                        let (result, hint) = (None, String::new());
                        return Err(Error::ExitedEarly { end, result, hint, stderr });
                    }
                    // Nobody has asked for these.
                    Report::Unit(_) | Report::Admitted(..) | Report::Answer(_) => {}
                    Report::Job(_) | Report::JobEnded { .. } => {}
                }
            }
            let (limit, passed) = (self.find_limit(), self.since.elapsed());
            // What has come in time counts, but reports without end hold up no reply.
            if has_report && passed < limit.saturating_add(SHORTEST_ENTRY) {
                continue;
            }
            let left = limit.saturating_sub(passed);
            if self.unit_has_ended() {
                return self.explain_end_of_unit();
            } else if self.server.is_none() {
                // The account may have stopped the process that gives up root for it.
                if self.last_word.elapsed() >= silence {
                    return Err(Error::silence_of(&whom.name, silence));
                }
            } else if !self.has_entered {
                if left.is_zero() {
                    return Err(self.explain_silence(directory, limit, grant));
                }
            } else if let (Some(port), Some(pid)) = (
                self.wait.and_then(|wait| wait.port),
                self.server.as_ref().map(|server| server.pid),
            ) {
                match self.look_for_listeners(pid, port, whom.uid) {
                    Listening::Target => return Ok(Some(true)),
                    Listening::Other(uid) => return Err(Error::PortTaken { port, uid }),
                    Listening::Nobody if left.is_zero() => return Ok(Some(false)),
                    Listening::Nobody => {}
                }
            } else if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// Why the server's process goes no further.
    fn explain_silence(&self, directory: &Path, limit: Duration, grant: Grant<'_>) -> Error {
        let seconds = limit.as_secs();
        let describe =
            |path: &Path| describe_mount(path).map_or(String::new(), |mount| format!(" ({mount})"));
        if self.has_found {
            let (home, target) = (directory.to_owned(), grant.whom().name.clone());
            Error::HomeUnresponsive { mount: describe(&home), home, target, seconds }
        } else {
            let directory = choose_directory(grant.policy());
            Error::ServerUnresponsive { mount: describe(&directory), directory, seconds }
        }
    }

    /// How long the next step may take, counted from `since`.
    fn find_limit(&self) -> Duration {
        match (self.has_entered, self.wait) {
            (true, wait) => wait.map_or(EARLY, |wait| wait.limit),
            (false, wait) => wait.map_or(USUAL_ENTRY, |wait| wait.limit.max(SHORTEST_ENTRY)),
        }
    }

    /// The server is about to be executed. The time of `wait` has begun before, because it is all that the
    /// caller has.
    fn begin_to_wait(&mut self, ticks: Option<u64>) {
        if let Some(server) = &mut self.server {
            // With hidepid, /proc shows a process only to itself before it is executed.
            server.started = ticks.and_then(Started::at).or(server.started.take());
        }
        if !self.has_entered && self.wait.is_none() {
            self.since = Instant::now();
        }
        self.has_entered = true;
    }

    fn look_for_listeners(&mut self, pid: Pid, port: u16, target: Uid) -> Listening {
        let look = Instant::now();
        let listening = listener::find_listeners(pid, port, target);
        let pause = look.elapsed().saturating_mul(LOOK_SHARE);
        self.pause = pause.clamp(LISTEN_INTERVAL, LONGEST_PAUSE);
        listening
    }

    fn unit_has_ended(&self) -> bool {
        let is_gone = || self.process.as_ref().is_none_or(|process| !process.is_alive());
        self.place == Place::Unit && self.server.is_some() && is_gone()
    }

    /// Reports the same as a supervisor, from what systemd says.
    fn explain_end_of_unit(&mut self) -> Result<Option<bool>, Error> {
        let state = ask_unit(&mut self.link)?;
        // systemd immediately forgets a unit that has not failed.
        let end = state.end.unwrap_or(End::Exited(0));
        if end == End::Exited(0) && self.wait.is_none() {
            return Ok(None);
        }
        let journal = read_journal(&mut self.link);
        let last = journal.len().saturating_sub(TAIL_BYTES);
        let tail = journal.get(last..).unwrap_or_default();
        let stderr = escape_control_characters(tail, Lines::Many);
        let hint = state.explain();
        Err(Error::ExitedEarly { end, result: state.result, hint, stderr })
    }

    fn announce_server(&mut self, pid: Pid) {
        let server = Identity { pid, started: Started::of(pid) };
        if self.place == Place::Unit {
            self.process = Process::hold(pid).ok();
        }
        if self.announce {
            Event::started(pid, server.started.clone()).write();
        }
        self.server = Some(server);
        self.since = Instant::now();
    }

    /// Waits for a report, at most until the next look at the sockets. Returns whether there is one.
    fn wait_for_report(&self, left: Duration) -> Result<bool, Error> {
        if self.link.has_received() {
            return Ok(true);
        }
        let pause = match (&self.server, self.wait) {
            // Hooks are running, and have their own time limits.
            (None, _) => Duration::from_secs(60),
            (Some(_), Some(_)) if self.has_entered => left.min(self.pause),
            (Some(_), _) => left,
        };
        // No event is requested for stdout: poll(2) reports without a request that no reader is left.
        let stdout = stdout_to_caller();
        let mut watched = vec![
            PollFd::new(self.link.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdout.as_fd(), PollFlags::empty()),
        ];
        watched.extend(self.process.as_ref().map(|process| process.to_poll()));
        let events = wait_for_any(&mut watched, pause).map_err(Error::at("poll"))?;
        let has_event = |place| events.get(place).copied().unwrap_or(false);
        if has_event(1) {
            return Err(Denial::CallerGone.into());
        }
        Ok(has_event(0))
    }
}
