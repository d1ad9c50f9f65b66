//! The door: accepts calls of a Hub that may gain no rights, and executes the mediator anew for each.
//!
//! ```text
//! Hub ── /run/sudospawner.socket ── door ── fork, exec ──► sudospawner --call, with the connection as stdin and stdout
//! ```
//!
//! systemd starts it at the first call, with the listening socket as its stdin. It looks at who is at the other end,
//! reads nothing of what they send, and ends when nobody has called for a minute. All that it keeps has a fixed size.

mod callers;
mod refusals;

use std::ffi::{CString, OsString};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use ground::connection::{find_peer, require_listening};
use ground::denial::Denial;
use ground::pidfd::Pidfd;
use ground::system_calls::{self, find_beside};
use ground::waiting::wait_for_any;
use nix::poll::{PollFd, PollFlags};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{ForkResult, Pid, Uid, dup2_stdin, dup2_stdout, getuid};
use root::account::{Caller, Way};
use root::connection::CALL;
use root::trusted_file::check_trusted;

use callers::Callers;
use refusals::Refusals;

/// How many calls run at once. Further ones wait in the socket's backlog.
const MOST_CALLS: usize = 64;
/// How many of these places each further account in `hub_users` can count on.
const KEPT_FOR_OTHERS: usize = 8;
/// How long the door stays when nothing runs and nobody calls,
const IDLE: Duration = Duration::from_secs(60);
/// unless the unit says a number of seconds with this option.
const IDLE_OPTION: &str = "--idle=";
/// The longest time that it waits while something runs.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// A call that runs: the mediator's process.
struct Call {
    pid: Pid,
    process: Pidfd,
    caller: Uid,
}

struct Door {
    listener: UnixListener,
    mediator: PathBuf,
    callers: Callers,
    refusals: Refusals,
    calls: Vec<Call>,
    idle: Duration,
}

/// Answers calls until there are none. `words` is the command line without the program's name.
///
/// # Errors
/// Why the door cannot go on, as a sentence. The calls go on, and systemd starts the door anew at the next one.
pub fn answer_calls(words: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    if !getuid().is_root() {
        return Err("this program is started by systemd, as root (sudospawner.socket)".to_owned());
    }
    let mut idle = IDLE;
    for word in words {
        let seconds = word.to_str().and_then(|word| word.strip_prefix(IDLE_OPTION)?.parse().ok());
        idle = seconds.map(Duration::from_secs).ok_or("the only option is --idle=SECONDS")?;
    }
    let stdin = std::io::stdin();
    require_listening(&stdin)
        .map_err(|_| "stdin is no listening socket: systemctl start sudospawner.socket")?;
    let listener = stdin.as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
    let listener = UnixListener::from(listener);
    listener.set_nonblocking(true).map_err(|error| error.to_string())?;
    let mediator = find_beside("sudospawner");
    // Check 2: from here on only root can put another program there.
    check_trusted(&mediator).map_err(|distrust| distrust.to_string())?;
    let (callers, refusals) = (Callers::default(), Refusals::new());
    let calls = Vec::with_capacity(MOST_CALLS);
    let mut door = Door { listener, mediator, callers, refusals, calls, idle };
    while door.wait()? {
        door.calls.retain(|call| !has_ended(call.pid));
        door.accept()?;
    }
    Ok(())
}

/// Whether a child has ended, which is then reaped.
fn has_ended(child: Pid) -> bool {
    waitpid(child, Some(WaitPidFlag::WNOHANG)).map_or(true, |status| status.pid().is_some())
}

impl Door {
    /// Waits for a call or the end of one. Returns false if there has been nothing for long.
    fn wait(&self) -> Result<bool, String> {
        let mut watched: Vec<PollFd<'_>> = Vec::with_capacity(MOST_CALLS.saturating_add(1));
        let ends =
            self.calls.iter().map(|call| PollFd::new(call.process.as_fd(), PollFlags::POLLIN));
        watched.extend(ends);
        if self.calls.len() < MOST_CALLS {
            watched.push(PollFd::new(self.listener.as_fd(), PollFlags::POLLIN));
        }
        let limit = if self.calls.is_empty() { self.idle } else { LONGEST_PAUSE };
        let events = wait_for_any(&mut watched, limit).map_err(|errno| format!("poll: {errno}"))?;
        Ok(events.contains(&true) || !self.calls.is_empty())
    }

    /// Accepts one call, if there is one and it has a place.
    fn accept(&mut self) -> Result<(), String> {
        if self.calls.len() >= MOST_CALLS {
            return Ok(());
        }
        match self.listener.accept() {
            Ok((connection, _)) => self.answer(&connection),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(format!("accept: {error}")),
        }
    }

    fn answer(&mut self, connection: &UnixStream) -> Result<(), String> {
        let Ok(uid) = find_peer(connection) else { return Ok(()) };
        self.callers.refresh();
        let name = self.callers.find(uid).map(str::to_owned);
        let caller = Caller { uid, name, way: Way::Socket };
        let Some(name) = &caller.name else {
            let denial = Denial::CallerNotPermitted { uid: uid.as_raw() };
            self.refusals.refuse(connection, &caller, &denial);
            return Ok(());
        };
        let others = self.callers.count().saturating_sub(1);
        let most = MOST_CALLS.saturating_sub(others.saturating_mul(KEPT_FOR_OTHERS));
        let running = self.calls.iter().filter(|call| call.caller == uid).count();
        if running >= most.max(KEPT_FOR_OTHERS) {
            self.refusals.refuse(connection, &caller, &Denial::TooManyCalls);
            return Ok(());
        }
        let argv = [self.mediator.as_os_str().as_bytes(), format!("{CALL}{name}").as_bytes()]
            .map(|word| CString::new(word).unwrap_or_default());
        match system_calls::fork().map_err(|errno| format!("fork: {errno}"))? {
            ForkResult::Child => {
                if dup2_stdin(connection).and_then(|()| dup2_stdout(connection)).is_ok() {
                    system_calls::execute(&self.mediator, &argv, &[]);
                }
                system_calls::exit_now(1)
            }
            ForkResult::Parent { child: pid } => {
                let process = Pidfd::open(pid).map_err(|errno| format!("pidfd_open: {errno}"))?;
                self.calls.push(Call { pid, process, caller: uid });
                Ok(())
            }
        }
    }
}
