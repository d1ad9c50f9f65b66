//! Control groups, cgroups(7): where they are, what is in them, how a process goes back to its own, and whether the
//! kernel holds it to their limits. There is one group for all controllers on v2, and one for each controller on v1.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

/// Where systemd's own groups are, on v2 and v1.
const HIERARCHIES: [&str; 3] =
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];

/// systemd's group that has this process in it.
#[must_use]
pub fn find_own() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = groups.lines().filter_map(|line| line.splitn(3, ':').last());
    let places =
        groups.flat_map(|group| HIERARCHIES.map(|folder| format!("{folder}{group}").into()));
    let mut places = places.filter(|place: &PathBuf| list_members(place).contains(&Pid::this()));
    places.next()
}

/// Every process of a group, by its name below a hierarchy, and of the groups below it.
#[must_use]
pub fn list_processes(group: &str) -> Vec<Pid> {
    let places = HIERARCHIES.iter().filter(|_| !group.is_empty());
    let mut places = places.map(|folder| PathBuf::from(format!("{folder}{group}")));
    places
        .find(|place| place.join("cgroup.procs").exists())
        .map_or_else(Vec::new, |it| list_below(&it))
}

/// Every process of the group in this place, and of the groups below it, which a server may have made.
#[must_use]
pub fn list_below(place: &Path) -> Vec<Pid> {
    let mut found = list_members(place);
    let entries = fs::read_dir(place).into_iter().flatten().filter_map(Result::ok);
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        found.extend(list_below(&entry.path()));
    }
    found
}

fn list_members(place: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(place.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw).collect()
}

use nix::errno::Errno;

/// Part of systemd since version 255, and a file of cgroup v2. With both, a unit's first process starts in its
/// control group and does not have to be moved.
const UNMOVED: [&str; 2] =
    ["/usr/lib/systemd/systemd-executor", "/sys/fs/cgroup/cgroup.controllers"];

/// Moves this process into its own control group.
///
/// Before the kernel moves a process, as PID 1 does with a unit's first one, every CPU has to pass an RCU
/// grace period (for `cgroup_threadgroup_rwsem` in kernel/cgroup/cgroup.c), often longer than the rest of a
/// unit's start. Soon after one move the next need not wait, so the wait begins here, while systemd-run is
/// still loading. If this process may not write there, PID 1 waits.
pub fn begin_grace_period() {
    if UNMOVED.iter().all(|path| Path::new(path).exists()) {
        return;
    }
    let own = find_own().map(|group| group.join("cgroup.procs"));
    let _ = own.map(|members| std::fs::write(members, Pid::this().to_string()));
}

/// A limit of a server as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Memory.
    Memory,
    /// CPUs.
    Cpus,
    /// Processes and threads.
    Tasks,
}

/// A file that holds a larger number limits nothing: v1 writes such a number where v2 writes `max`.
const UNLIMITED: u64 = 1 << 62;

impl Limit {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Cpus, Self::Tasks];

    /// Its key in the policy.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpus => "cpus",
            Self::Tasks => "tasks",
        }
    }

    /// The property of a unit that sets it.
    #[must_use]
    pub fn property(self) -> &'static str {
        match self {
            Self::Memory => "MemoryMax",
            Self::Cpus => "CPUQuota",
            Self::Tasks => "TasksMax",
        }
    }

    /// Its controller, and the controller's file on v2 and on v1.
    fn files(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Memory => ("memory", "memory.max", "memory.limit_in_bytes"),
            Self::Cpus => ("cpu", "cpu.max", "cpu.cfs_quota_us"),
            Self::Tasks => ("pids", "pids.max", "pids.max"),
        }
    }

    /// Whether the control group of this process has such a limit, and is the unit's own: where systemd may not
    /// use a controller, its processes stay in a group further up.
    #[must_use]
    pub fn holds_here(self) -> bool {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let find = |is_it: &dyn Fn(&str) -> bool| {
            let fields = groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
            fields.filter(|(controllers, _)| is_it(controllers)).map(|(_, group)| group).next()
        };
        let (controller, file, file_of_v1) = self.files();
        let path = match find(&|controllers| controllers.split(',').any(|one| one == controller)) {
            Some(group) if Some(group) == find(&|controllers| controllers == "name=systemd") => {
                format!("/sys/fs/cgroup/{controller}{group}/{file_of_v1}")
            }
            _ => format!("/sys/fs/cgroup{}/{file}", find(&str::is_empty).unwrap_or("/")),
        };
        let text = fs::read_to_string(path).unwrap_or_default();
        let limit = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        limit.is_some_and(|limit| limit < UNLIMITED)
    }

    /// Whether this machine has the controller at all.
    #[must_use]
    pub fn has_controller(self) -> bool {
        let (controller, ..) = self.files();
        match fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") {
            Ok(text) => text.split_whitespace().any(|one| one == controller),
            Err(_) => Path::new("/sys/fs/cgroup").join(controller).is_dir(),
        }
    }
}

/// The control groups that a process is in.
#[derive(Debug, PartialEq, Eq)]
pub struct Membership {
    /// Lines of number, controllers and group.
    text: String,
}

impl Membership {
    /// Those of this process.
    #[must_use]
    pub fn own() -> Self {
        Self { text: fs::read_to_string("/proc/self/cgroup").unwrap_or_default() }
    }

    /// Has this process enter them again, wherever it was moved since. Only root can.
    ///
    /// # Errors
    /// EXDEV if this process is not in all of them afterwards.
    pub fn restore(&self) -> Result<(), Errno> {
        let now = Self::own();
        for line in self.text.lines().filter(|line| !now.text.lines().any(|one| one == *line)) {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next().unwrap_or_default().trim_start_matches("name=");
            let group = fields.next().unwrap_or_default();
            // v2 has one hierarchy, which is beside those of v1 if there are any.
            let folders = if controllers.is_empty() { ["", "unified"] } else { [controllers; 2] };
            for folder in folders {
                let members = Path::new("/sys/fs/cgroup").join(folder);
                let members = members.join(group.trim_start_matches('/')).join("cgroup.procs");
                let _ = fs::write(members, "0");
            }
        }
        if Self::own() == *self { Ok(()) } else { Err(Errno::EXDEV) }
    }
}
