//! Identifies the process that a request means. A pid alone does not, since the kernel reuses it. Pid, start
//! time and boot together do.

use std::fmt;

use nix::unistd::Pid;
use serde::{Serialize, Serializer};

use super::stat::Stat;

/// When a process started: the boot, and the clock ticks since then (field 22 of proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    boot_id: String,
    ticks: u64,
}

impl Started {
    /// Parses `<boot_id>:<start ticks>`, the form used in the protocol.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (boot_id, ticks) = text.split_once(':')?;
        let is_boot_id = boot_id.len() == 36
            && boot_id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let is_number = !ticks.is_empty() && ticks.bytes().all(|byte| byte.is_ascii_digit());
        if !is_boot_id || !is_number {
            return None;
        }
        Some(Self { boot_id: boot_id.to_owned(), ticks: ticks.parse().ok()? })
    }

    /// When the process with this pid started, if /proc shows it.
    #[must_use]
    pub fn of(pid: Pid) -> Option<Self> {
        Self::at(Stat::read(pid)?.started)
    }

    /// So many clock ticks after the last boot.
    #[must_use]
    pub fn at(ticks: u64) -> Option<Self> {
        Some(Self { boot_id: read_boot_id()?, ticks })
    }

    /// Whether that was since the last boot.
    #[must_use]
    pub fn is_of_this_boot(&self) -> bool {
        read_boot_id().is_some_and(|boot_id| boot_id == self.boot_id)
    }
}

fn read_boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim_end().to_owned())
}

impl fmt::Display for Started {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.boot_id, self.ticks)
    }
}

impl Serialize for Started {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A process as a request names it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its pid.
    pub pid: Pid,
    /// When it started, if the caller knows. With this, a recycled pid is harmless.
    pub started: Option<Started>,
}
