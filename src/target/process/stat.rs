//! What /proc says about one process.

use nix::unistd::Pid;

/// The fields of `/proc/<pid>/stat` that this program uses, proc_pid_stat(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The parent (field 4).
    pub parent: Pid,
    /// Clock ticks from boot to its start (field 22).
    pub started: u64,
}

impl Stat {
    /// Reads it; `None` if the process does not exist or is hidden.
    #[must_use]
    pub fn read(pid: Pid) -> Option<Self> {
        Self::parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(line: &[u8]) -> Option<Self> {
        // The command (field 2) is in parentheses and may contain any byte, even `)`. So the last one closes
        // it.
        let close = line.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(line.get(close..)?.get(1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field.checked_sub(3)?)?.parse::<u64>().ok();
        Some(Self { parent: Pid::from_raw(i32::try_from(number(4)?).ok()?), started: number(22)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let line = b"12 (a) b (c) S 7 1 1 0 -1 4 0 0 0 0 30 12 0 0 20 0 1 0 4242 9 9";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat, Stat { parent: Pid::from_raw(7), started: 4242 });
    }

    #[test]
    fn a_line_that_ends_early_is_no_process() {
        assert_eq!(Stat::parse(b"12 (a) S 7 1"), None);
        assert_eq!(Stat::parse(b"12 a"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn the_fields_of_this_process_are_its_own() {
        assert_eq!(Stat::read(Pid::this()).unwrap().parent, Pid::parent());
        assert_eq!(Stat::read(Pid::from_raw(i32::MAX)), None);
    }
}
