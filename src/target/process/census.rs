//! The processes of the machine, as sysinfo finds them in /proc: descendants, and what each process uses.

use nix::unistd::Pid;
use sysinfo::{Process, ProcessRefreshKind, ProcessesToUpdate, System};

/// All processes visible to this one.
#[derive(Debug)]
pub struct Census(System);

impl Census {
    /// Takes the census now.
    #[must_use]
    pub fn take() -> Self {
        let mut system = System::new();
        let asked = ProcessRefreshKind::nothing().with_cpu().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::All, false, asked);
        Self(system)
    }

    /// What was found of a process; `None` if it is gone or hidden.
    #[must_use]
    pub fn find(&self, pid: Pid) -> Option<&Process> {
        self.0.process(to_number(pid)?)
    }

    /// All descendants of a process, without the process itself.
    #[must_use]
    pub fn list_descendants(&self, pid: Pid) -> Vec<Pid> {
        let mut found = Vec::new();
        let mut unseen = vec![pid];
        while let Some(parent) = unseen.pop().and_then(to_number) {
            let children = self.0.processes().iter().filter(|(_, process)| {
                process.parent() == Some(parent) && process.thread_kind().is_none()
            });
            let children = children.filter_map(|(pid, _)| i32::try_from(pid.as_u32()).ok());
            // Processes come and go while /proc is read. One that has a new parent must not be counted twice.
            let children: Vec<Pid> =
                children.map(Pid::from_raw).filter(|child| !found.contains(child)).collect();
            unseen.extend(&children);
            found.extend(children);
        }
        found
    }
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
        assert!(Census::take().list_descendants(Pid::this()).contains(&pid));
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
