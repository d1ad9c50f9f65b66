//! The target's side of the systemd launcher: reads what systemd says of a server's unit, and acts on it.
//!
//! Root's side is the [`root::monitor`], which asks systemd, and [`root::foreground`], the unit's first
//! process.

use std::time::{Duration, Instant};

use nix::libc;
use nix::unistd::Pid;

use crate::error::Error;
use crate::files::remover::is_remover;
use crate::process::Process;
use crate::process::identity::{Identity, Started};
use crate::process::stop::{Stopped, end_server};
use crate::process::usage::{Usage, measure_processes};
use crate::request::{Status, Stop};
use ground::control_group::list_processes;
use ground::report::{End, Report};
use ground::waiting::wait_for_any;
use ground::wire::{ASK_JOURNAL, ASK_STATE, ASK_STOP, FORGET, Link};
use root::policy::file::Leftovers;
use root::privileges::Unprivileged;

/// How often, and how many times, systemd is asked for an end that it has not noticed yet.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const MOST_LOOKS: u32 = 50;

/// What systemctl(1) shows of a unit.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UnitState {
    /// Whether the unit exists. systemd forgets a unit whose server ended with status 0.
    is_loaded: bool,
    /// Its main process; 0 if it has ended.
    main_pid: i32,
    /// The main process that it has, or last had.
    last_pid: i32,
    /// How that process ended.
    pub end: Option<End>,
    /// Why the unit ended, if that is more than its process's end says: `oom-kill`, `timeout`.
    pub result: Option<String>,
    control_group: String,
    /// How much memory it may use, in bytes.
    memory_max: Option<u64>,
}

impl UnitState {
    /// Parses lines of `Name=value`.
    #[must_use]
    pub fn parse(shown: &str) -> Self {
        let find = |name: &str| {
            let mut values = shown.lines().filter_map(|line| line.strip_prefix(name));
            values.find_map(|rest| rest.strip_prefix('=')).unwrap_or_default()
        };
        let number = |name: &str| find(name).parse().unwrap_or(0);
        let main_pid = number("MainPID");
        let status = number("ExecMainStatus");
        // The codes are those of waitid(2): 1 CLD_EXITED, 2 CLD_KILLED, 3 CLD_DUMPED.
        let end = match number("ExecMainCode") {
            1 => Some(End::Exited(status)),
            2 | 3 => Some(End::Killed(status)),
            _ => None,
        };
        let says_more = |result: &&str| !["", "success", "exit-code", "signal"].contains(result);
        Self {
            is_loaded: find("LoadState") == "loaded",
            main_pid,
            last_pid: number("ExecMainPID"),
            end: end.filter(|_| main_pid == 0),
            result: Some(find("Result")).filter(says_more).map(ToOwned::to_owned),
            control_group: find("ControlGroup").to_owned(),
            memory_max: find("MemoryMax").parse().ok().filter(|bytes| *bytes != u64::MAX),
        }
    }

    /// An explanation of the end for people, in parentheses; empty if there is nothing to say. With the
    /// policy's `OOMPolicy=continue`, systemd does not report that the kernel killed for memory.
    #[must_use]
    pub fn explain(&self) -> String {
        match (self.result.as_deref(), self.end, self.memory_max) {
            (Some("oom-kill"), ..) => " (killed: it used more memory than it may)".to_owned(),
            (Some(result), ..) => format!(" (systemd says: {result})"),
            (None, Some(End::Killed(libc::SIGKILL)), Some(bytes)) => {
                format!(" (killed, perhaps since it used more memory than its {bytes} bytes)")
            }
            _ => String::new(),
        }
    }

    /// Whether the unit is, or was, this server's. `process` is the process that has the server's identity:
    /// if there is none and the unit runs, it has another server with the same pid.
    fn is_of(&self, server: &Identity, process: Option<&Process>) -> bool {
        let is_last = self.is_loaded && self.last_pid == server.pid.as_raw();
        is_last && (self.main_pid == 0 || process.is_some())
    }

    /// Every process of the unit, except what removes the server's files.
    fn list_processes(&self) -> Vec<Pid> {
        let all = list_processes(&self.control_group);
        all.into_iter().filter(|pid| !is_remover(*pid)).collect()
    }
}

/// Asks the monitor for the state of the server's unit.
///
/// # Errors
/// [`Denial::LaunchFailed`](ground::denial::Denial::LaunchFailed) if the monitor has ended, and what the
/// monitor reports.
pub fn ask_unit(link: &mut Link) -> Result<UnitState, Error> {
    ask(link, ASK_STATE)
}

/// The last log lines of the server's unit. The monitor ends the unit afterwards.
pub fn read_journal(link: &mut Link) -> Vec<u8> {
    let _ = link.send_word(ASK_JOURNAL);
    link.read_rest()
}

fn ask(link: &mut Link, word: u8) -> Result<UnitState, Error> {
    link.send_word(word).map_err(Error::at("asking the monitor"))?;
    match link.read_report()? {
        Report::Unit(shown) => Ok(UnitState::parse(&shown)),
        Report::Denied(setback) | Report::Failed(setback) => Err(Error::Reported(setback)),
        _ => Err(Error::at("asking the monitor")(nix::errno::Errno::EBADMSG)),
    }
}

/// Ends a server that runs in a unit, and then the unit with everything in it. `None` if the unit is not this
/// server's.
///
/// # Errors
/// Those of [`ask_unit`].
pub fn stop_in_unit(
    request: &Stop,
    leftovers: Leftovers,
    link: &mut Link,
    proof: &Unprivileged,
) -> Result<Option<Stopped>, Error> {
    let begin = Instant::now();
    // Before asking systemd: a main process that appears only afterwards belongs to another server.
    let server = Process::open(&request.server, proof)?;
    let state = ask_unit(link)?;
    if !state.is_of(&request.server, server.as_ref()) {
        // Without this word the monitor would end the unit (`monitor/unit.rs`).
        link.confirm_delivery();
        return Ok(None);
    }
    let open = |pid| Process::open(&Identity { pid, started: None }, proof).ok().flatten();
    let others = state.list_processes().into_iter().filter(|pid| *pid != request.server.pid);
    // What hooks left in the unit is root's, not the server's.
    let is_own = |process: &Process| process.signal(0).is_ok();
    let mut others: Vec<Process> = others.filter_map(open).filter(is_own).collect();
    let mut alive = false;
    if let Some(server) = server {
        alive = server.signal(0).is_ok() && !end_server(&server, &mut others, request);
    }
    let mut leftovers_killed = 0;
    if !alive {
        if leftovers == Leftovers::Kill {
            // All that outlived the server. systemd has seen its end, too, and may have begun on these.
            leftovers_killed = others.len();
        }
        ask(link, ASK_STOP)?;
    } else {
        link.confirm_delivery();
    }
    Ok(Some(Stopped { alive, leftovers_killed, took: begin.elapsed() }))
}

/// The state of a server in a unit.
#[derive(Debug)]
pub enum UnitStatus {
    /// It runs, and uses this much.
    Alive(Usage),
    /// It has ended.
    Ended {
        /// How.
        end: Option<End>,
        /// Why, in systemd's words, if that says more.
        result: Option<String>,
    },
}

/// Measures a server that runs in a unit; `None` if the unit is not this server's.
///
/// # Errors
/// Those of [`ask_unit`].
pub fn measure_in_unit(
    request: &Status,
    link: &mut Link,
    proof: &Unprivileged,
) -> Result<Option<UnitStatus>, Error> {
    // Before asking systemd, as for a stop.
    let server = Process::open(&request.server, proof)?;
    let mut state = ask_unit(link)?;
    let has_ended = server.as_ref().is_some_and(|server| !server.is_alive());
    // systemd may not have noticed yet what the kernel shows already, and then cannot tell how it ended.
    for _ in 0..MOST_LOOKS {
        if !has_ended || state.main_pid != request.server.pid.as_raw() {
            break;
        }
        let _ = wait_for_any(&mut [], LOOK_INTERVAL);
        state = ask_unit(link)?;
    }
    let server = server.filter(|_| !has_ended);
    let is_of_this_boot = request.server.started.as_ref().is_some_and(Started::is_of_this_boot);
    if !state.is_loaded && is_of_this_boot && request.unit.is_some() && server.is_none() {
        // systemd keeps a failed unit until somebody resets it, and forgets all others.
        return Ok(Some(UnitStatus::Ended { end: Some(End::Exited(0)), result: None }));
    }
    if !state.is_of(&request.server, server.as_ref()) {
        return Ok(None);
    }
    if let Some(server) = server {
        let usage = measure_processes(server.pid, &state.list_processes(), proof);
        return Ok(Some(UnitStatus::Alive(usage)));
    }
    link.send_word(FORGET).map_err(Error::at("asking the monitor"))?;
    Ok(Some(UnitStatus::Ended { end: state.end, result: state.result }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_server_is_what_systemd_says_of_its_last_process() {
        let shown = "LoadState=loaded\nActiveState=failed\nMainPID=0\nExecMainPID=71\nExecMainCode=2\n\
                     ExecMainStatus=9\nResult=oom-kill\nControlGroup=\n";
        let state = UnitState::parse(shown);
        assert_eq!((state.main_pid, state.last_pid), (0, 71));
        assert_eq!(state.end, Some(End::Killed(9)));
        assert_eq!(state.result.as_deref(), Some("oom-kill"));
    }

    #[test]
    fn a_server_that_runs_has_no_end_and_a_unit_that_is_not_there_no_server() {
        let shown =
            "LoadState=loaded\nMainPID=71\nExecMainPID=71\nExecMainCode=0\nResult=success\n";
        let state = UnitState::parse(shown);
        assert_eq!((state.end, state.result.as_deref()), (None, None));
        let server = Identity { pid: Pid::this(), started: None };
        let unit = |loaded: &str, main_pid: i32| {
            let pid = Pid::this();
            UnitState::parse(&format!(
                "LoadState={loaded}\nMainPID={main_pid}\nExecMainPID={pid}\n"
            ))
        };
        let (pid, process) = (Pid::this().as_raw(), Process::hold(Pid::this()).unwrap());
        assert!(unit("loaded", pid).is_of(&server, Some(&process)));
        assert!(unit("loaded", 0).is_of(&server, None));
        assert!(!unit("loaded", pid).is_of(&server, None));
        assert!(!unit("not-found", 0).is_of(&server, None));
        assert_eq!(UnitState::parse(""), UnitState::default());
    }
}
