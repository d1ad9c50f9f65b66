//! How a running server is: since when, and what it uses together with all that it started.

use std::path::Path;
use std::time::Duration;

use nix::unistd::{Pid, SysconfVar, sysconf};

use super::stat::Stat;
use super::{Process, tree};
use crate::error::Error;
use crate::request::Status;
use root::privileges::Unprivileged;

/// What a server uses, its descendants included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Whose it is.
    pub uid: u32,
    /// How long the server has been running.
    pub uptime: Duration,
    /// Resident memory of all processes, in bytes; what they share counts for each.
    pub memory: u64,
    /// CPU time of the processes that are there now.
    pub cpu: Duration,
    /// How many processes.
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
    let mut processes = tree::list_descendants(server.pid);
    processes.push(server.pid);
    Ok(Some(measure_processes(server.pid, &processes, unprivileged)))
}

/// Measures a server and all that belongs to it.
#[must_use]
pub fn measure_processes(server: Pid, processes: &[Pid], unprivileged: &Unprivileged) -> Usage {
    let stats: Vec<Stat> = processes.iter().copied().filter_map(Stat::read).collect();
    let ticks = stats.iter().fold(0_u64, |sum, stat| sum.saturating_add(stat.cpu_ticks));
    let memory = processes.iter().copied().filter_map(read_resident_bytes);
    Usage {
        uid: unprivileged.target().uid.as_raw(),
        uptime: measure_uptime(server).unwrap_or_default(),
        memory: memory.fold(0, u64::saturating_add),
        cpu: from_ticks(ticks),
        processes: stats.len(),
    }
}

fn measure_uptime(pid: Pid) -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let now = Duration::try_from_secs_f64(text.split(' ').next()?.parse().ok()?).ok()?;
    Some(now.saturating_sub(from_ticks(Stat::read(pid)?.started)))
}

fn read_resident_bytes(pid: Pid) -> Option<u64> {
    let path = format!("/proc/{pid}/statm");
    let text = std::fs::read_to_string(Path::new(&path)).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    pages.checked_mul(read_setting(SysconfVar::PAGE_SIZE))
}

fn from_ticks(ticks: u64) -> Duration {
    let per_second = read_setting(SysconfVar::CLK_TCK);
    let milliseconds = ticks.saturating_mul(1000).checked_div(per_second).unwrap_or_default();
    Duration::from_millis(milliseconds)
}

fn read_setting(variable: SysconfVar) -> u64 {
    sysconf(variable).ok().flatten().and_then(|value| u64::try_from(value).ok()).unwrap_or(1)
}
