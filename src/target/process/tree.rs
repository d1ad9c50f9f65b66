//! Who descends from whom, as /proc tells it.

use nix::unistd::Pid;

/// The children of a process, whichever of its threads made them; empty if it is gone or hidden.
fn list_children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|children| {
            children
                .split_ascii_whitespace()
                .filter_map(|child| child.parse().ok().map(Pid::from_raw))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// All that descends from a process, without itself, parents before children.
#[must_use]
pub fn list_descendants(pid: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    let mut unseen = list_children(pid);
    while let Some(next) = unseen.pop() {
        // /proc is read while processes come and go: one that moved is not to be met twice.
        if !found.contains(&next) {
            unseen.extend(list_children(next));
            found.push(next);
        }
    }
    found
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
