//! A server's processes: its descendants, and what each of them uses.
//!
//! No other process is looked at, so neither takes longer on a machine with thousands of servers.

use ground::ending::list_children_of;
use nix::unistd::Pid;
use sysinfo::{Process, ProcessRefreshKind, ProcessesToUpdate, System};

/// Some processes, as sysinfo finds them in /proc.
#[derive(Debug)]
pub struct Census(System);

impl Census {
    /// Takes the census of these processes now.
    #[must_use]
    pub fn take(processes: &[Pid]) -> Self {
        let mut system = System::new();
        let asked = ProcessRefreshKind::nothing().with_cpu().with_memory();
        let processes: Vec<_> = processes.iter().copied().filter_map(to_number).collect();
        let asked_for = ProcessesToUpdate::Some(&processes);
        system.refresh_processes_specifics(asked_for, false, asked);
        Self(system)
    }

    /// What was found of a process; `None` if it is gone or hidden.
    #[must_use]
    pub fn find(&self, pid: Pid) -> Option<&Process> {
        self.0.process(to_number(pid)?)
    }
}

/// All descendants of a process, without the process itself.
#[must_use]
pub fn list_descendants(pid: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    let mut unseen = vec![pid];
    while let Some(parent) = unseen.pop() {
        // Processes come and go meanwhile. One that has a new parent must not be counted twice.
        let children: Vec<Pid> =
            list_children_of(parent).into_iter().filter(|child| !found.contains(child)).collect();
        unseen.extend(&children);
        found.extend(children);
    }
    found
}

fn to_number(pid: Pid) -> Option<sysinfo::Pid> {
    u32::try_from(pid.as_raw()).ok().map(sysinfo::Pid::from_u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_was_started_is_among_the_descendants() {
        #[allow(clippy::disallowed_methods)]
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        assert!(list_descendants(Pid::this()).contains(&pid));
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
