//! The state of a running server: its uptime, and what it and everything that it started use.

use std::time::Duration;

use nix::unistd::Pid;
use root::privileges::Unprivileged;

use super::Process;
use super::census::{Census, list_descendants};
use crate::error::Error;
use crate::request::Status;

/// What a server and its descendants use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// The owner's uid.
    pub uid: u32,
    /// How long the server has been running.
    pub uptime: Duration,
    /// Resident memory of all processes, in bytes. Shared memory counts for each.
    pub memory: u64,
    /// CPU time of the processes that exist now.
    pub cpu: Duration,
    /// The number of processes.
    pub processes: usize,
}

/// Measures a server; `None` if it is gone or no longer the target's.
///
/// # Errors
/// [`Error::KernelUnsupported`].
pub fn measure_server(
    request: &Status,
    unprivileged: &Unprivileged,
) -> Result<Option<Usage>, Error> {
    let Some(server) = Process::open(&request.server, unprivileged)? else {
        return Ok(None);
    };
    if server.signal(0).is_err() || !server.is_alive() {
        return Ok(None);
    }
    let mut processes = list_descendants(server.pid);
    processes.push(server.pid);
    Ok(Some(measure_processes(server.pid, &processes, unprivileged)))
}

/// Measures a server and everything that belongs to it, the server itself among them.
#[must_use]
pub fn measure_processes(server: Pid, processes: &[Pid], unprivileged: &Unprivileged) -> Usage {
    let census = Census::take(processes);
    let found = || processes.iter().filter_map(|pid| census.find(*pid));
    let add = |sum: u64, amount: u64| sum.saturating_add(amount);
    let uptime = census.find(server).map(sysinfo::Process::run_time).unwrap_or_default();
    Usage {
        uid: unprivileged.target().uid.as_raw(),
        uptime: Duration::from_secs(uptime),
        memory: found().map(sysinfo::Process::memory).fold(0, add),
        cpu: Duration::from_millis(
            found().map(sysinfo::Process::accumulated_cpu_time).fold(0, add),
        ),
        processes: found().count(),
    }
}
