//! Gives root's part, and programs that root starts, a fresh beginning with nothing of the caller's.

use std::ffi::c_long;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::personality::{self, Persona};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use rustix::process::setpriority_process;

use super::{call, join_new_session_keyring};
use crate::denial::Denial;

/// The limits of setrlimit(2), soft and hard, that a systemd service begins with. A limit that the kernel
/// does not enforce for root is infinite here.
const FRESH_LIMITS: [Limit; 16] = [
    (Resource::RLIMIT_AS, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_CORE, 0, RLIM_INFINITY),
    (Resource::RLIMIT_CPU, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_DATA, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_FSIZE, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_LOCKS, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_MSGQUEUE, 819_200, 819_200),
    (Resource::RLIMIT_NICE, 0, 0),
    (Resource::RLIMIT_NOFILE, 1024, 524_288),
    (Resource::RLIMIT_NPROC, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_RSS, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_RTPRIO, 0, 0),
    (Resource::RLIMIT_RTTIME, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_SIGPENDING, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_STACK, 8 << 20, RLIM_INFINITY),
];

/// The timer slack of a fresh process, in nanoseconds. Zero would mean the caller's.
const FRESH_SLACK: u64 = 50_000;

/// Resets what this process has inherited from the caller: all limits of setrlimit(2), nice value,
/// scheduling, CPUs, I/O priority, timer slack, `oom_score_adj`, personality and session keyring. What may
/// not be changed here stays, as in a container without CAP_SYS_RESOURCE.
pub fn settle() {
    let _ = refresh_limits();
    reset_scheduling();
    let mut cpus = CpuSet::new();
    for cpu in 0..CpuSet::count() {
        let _ = cpus.set(cpu);
    }
    let _ = sched_setaffinity(Pid::from_raw(0), &cpus);
    let _ = prctl::set_timerslack(FRESH_SLACK);
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
    let _ = personality::set(Persona::empty());
    let _ = join_new_session_keyring();
}

/// A limit of setrlimit(2), soft and hard.
pub type Limit = (Resource, u64, u64);

/// With fewer open files than this, a look-up may have no room, and then says that there is nothing: modules of
/// the account database keep files open.
const FEWEST_FILES: u64 = 64;
const TOO_FEW_FILES: &str = "too few files may be open (raise LimitNOFILE= of the Hub's unit)";

/// Gives this process the limits of a fresh one, as far as it may have them. Returns the old limits.
///
/// # Errors
/// [`Denial::LaunchFailed`] if too few files may be open even so, as in a container without CAP_SYS_RESOURCE.
pub fn refresh_limits() -> Result<Vec<Limit>, Denial> {
    let find = |resource| getrlimit(resource).map(|(soft, hard)| (resource, soft, hard));
    let inherited = FRESH_LIMITS.iter().filter_map(|(one, ..)| find(*one).ok()).collect();
    for (resource, soft, hard) in FRESH_LIMITS {
        let _ = set_limit(resource, soft, hard);
    }
    let files = getrlimit(Resource::RLIMIT_NOFILE).ok().filter(|(files, _)| *files >= FEWEST_FILES);
    files.map(|_| inherited).ok_or(Denial::at(TOO_FEW_FILES)(Errno::EMFILE))
}

/// Sets a limit. If raising the hard limit is not permitted (without privilege, or in a container without
/// CAP_SYS_RESOURCE), both are cut to the hard limit.
///
/// # Errors
/// What setrlimit(2) says.
pub fn set_limit(resource: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
    match setrlimit(resource, soft, hard) {
        Err(Errno::EPERM) => {
            let (_, old) = getrlimit(resource)?;
            setrlimit(resource, soft.min(old), hard.min(old))
        }
        result => result,
    }
}

fn reset_scheduling() {
    const WHO_PROCESS: c_long = 1;
    const THIS: c_long = 0;
    const NO_PRIORITY: c_long = 0;
    let plain = libc::sched_param { sched_priority: 0 };
    // SAFETY: sched_setscheduler(2) reads `plain`, which outlives the call.
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const plain);
    }
    let _ = setpriority_process(None, 0);
    let _ = call(libc::SYS_ioprio_set, [WHO_PROCESS, THIS, NO_PRIORITY, 0]);
}
