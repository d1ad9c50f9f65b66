//! What neither std nor nix offers as a safe function. Only here, and in the files below it, there is `unsafe`.

#![allow(unsafe_code)]

pub mod afresh;

use std::ffi::{CStr, CString, c_long};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, execve, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// fork(2).
///
/// # Errors
/// What the kernel says, EAGAIN at the limit of processes above all.
pub fn fork() -> Result<ForkResult, Errno> {
    // SAFETY: this program never starts a thread, so the child's copy of memory is consistent and
    // it may do whatever the parent could.
    unsafe { nix::unistd::fork() }
}

/// Ends this process at once: no exit handler of a library runs in a forked child.
pub fn exit_now(status: i32) -> ! {
    let _ = call(libc::SYS_exit_group, [c_long::from(status), 0, 0, 0]);
    // Not reached: that call does not return.
    std::process::abort()
}

/// Executes our own binary anew, with this command line and an empty environment; returns only if that
/// fails.
///
/// Anew, since a fork would keep all that the mediator has allocated; and not by its path, so that a
/// package that has just been replaced, or a directory that is closed to the target, does not change
/// what is executed.
pub fn execute_anew(argv: &[CString]) -> Errno {
    let no_variables: [&CStr; 0] = [];
    execve(c"/proc/self/exe", argv, &no_variables).err().unwrap_or(Errno::ENOEXEC)
}

/// Takes over a descriptor that this process was started with; `None` if it is not open.
#[must_use]
pub fn adopt_descriptor(number: RawFd) -> Option<OwnedFd> {
    if number < 3 || std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err() {
        return None;
    }
    // SAFETY: it is open, and nothing else in this program owns it: this is called at the start
    // alone, before the program opens anything of its own, and once for each number.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Check 1 of docs/security.md, with which whatever may be root for somebody else begins, before it opens
/// anything, be it the mediator, a subcommand, a unit's first process or `jsd-helper`:
/// descriptors, signals and umask are its own, whatever the caller's were. Gives the caller's umask.
pub fn begin() -> Mode {
    let inherited_umask = umask(Mode::S_IWGRP | Mode::S_IWOTH);
    if !geteuid().is_root() {
        close_to_own_account();
    }
    close_inherited_descriptors();
    own_signals();
    inherited_umask
}

/// Closes this process to tracing by other processes of its account, which could take its descriptors and
/// speak in its name. The kernel does it by itself for a program that its account cannot read (mode 0711),
/// and then from the first instruction on; a change of uid does it too, unless `fs.suid_dumpable` is 1.
pub fn close_to_own_account() {
    let _ = prctl::set_dumpable(false);
}

/// Forgets every variable of the environment, of which libraries for accounts read some.
pub fn clear_environment() {
    // SAFETY: this program has one thread, and holds no pointer into the environment.
    unsafe {
        libc::clearenv();
    }
}

/// Closes every descriptor but stdin, stdout and stderr, which std has opened to `/dev/null` where
/// they were closed. To be called before anything else is opened.
fn close_inherited_descriptors() {
    let Ok(directory) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<RawFd> =
        directory.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The directory itself is among the numbers, and closed by now.
    for number in numbers.into_iter().filter(|number| *number > 2) {
        let _ = nix::unistd::close(number);
    }
}

/// Has every descriptor but stdin, stdout and stderr closed when a program is executed. Where the
/// kernel has no such call (before Linux 5.11), what was inherited stays open.
pub fn close_descriptors_on_exec() {
    let (first, last) = (3, c_long::from(libc::c_uint::MAX));
    let how = c_long::from(libc::CLOSE_RANGE_CLOEXEC);
    let _ = call(libc::SYS_close_range, [first, last, how, 0]);
}

/// Gives every signal its default action and blocks none, as a program may expect at its start.
pub fn reset_signals() {
    reset_actions(|_| true);
}

/// Makes signals what this program relies on, whatever the caller ignored or blocked: children are
/// waited for. SIGPIPE stays as std has set it before `main`: it is ignored, so that a reader that is gone is
/// an error of write(2).
fn own_signals() {
    reset_actions(|signal| signal != libc::SIGPIPE);
}

fn reset_actions(is_reset: impl Fn(libc::c_int) -> bool) {
    /// As large as the kernel's `struct sigaction` on any machine; all zeros are SIG_DFL.
    const DEFAULT: [u64; 8] = [0; 8];
    const MASK_BYTES: usize = 8;
    let no_old_action: *mut libc::c_void = std::ptr::null_mut();
    for signal in (1..=64).filter(|signal| is_reset(*signal)) {
        // Not by sigaction(3), which refuses the two signals that the C library keeps for itself, and
        // those may be ignored as well.
        // SAFETY: the kernel reads no more than its struct from DEFAULT, and the default action runs
        // no code of ours. EINVAL for SIGKILL and SIGSTOP, which always have it.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                no_old_action,
                MASK_BYTES,
            );
        }
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// pidfd_send_signal(2), with any number, since what is no signal is the kernel's to refuse.
///
/// # Errors
/// ESRCH, EPERM, EINVAL.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    const NO_INFO: c_long = 0;
    let pidfd = c_long::from(pidfd.as_raw_fd());
    call(libc::SYS_pidfd_send_signal, [pidfd, c_long::from(signal), NO_INFO, 0]).map(drop)
}

/// Begins a session keyring of this process's own, keyctl(2), so that the keys of whoever called are
/// out of reach. It needs no privilege. A kernel without keyrings has none to share.
///
/// # Errors
/// EDQUOT if the account has too many keys.
pub fn join_new_session_keyring() -> Result<(), Errno> {
    const JOIN_SESSION_KEYRING: c_long = 1;
    const ANONYMOUS: c_long = 0;
    match call(libc::SYS_keyctl, [JOIN_SESSION_KEYRING, ANONYMOUS, 0, 0]) {
        // EPERM is what containers answer whose filter forbids keyctl.
        Ok(_) | Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The day on which an account expires, counted from the beginning of 1970, shadow(5); `None` for an account
/// that never does, or of which the shadow database says nothing.
#[must_use]
pub fn find_day_of_expiry(name: &CStr) -> Option<u64> {
    // SAFETY: this program has one thread, and reads what getspnam(3) has found, if it has found something,
    // before it can be called again.
    let day = unsafe { getspnam(name.as_ptr()).as_ref().map(|entry| entry.sp_expire) };
    day.and_then(|day| u64::try_from(day).ok())
}

unsafe extern "C" {
    /// Not in libc for Linux, which has getspnam_r(3) with a buffer to be grown.
    fn getspnam(name: *const libc::c_char) -> *const libc::spwd;
}

/// Empties the bounding set, so that no program that is executed later gains a capability.
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn empty_bounding_set() -> Result<(), Errno> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The first number behind the last capability of this kernel.
            Err(rustix::io::Errno::INVAL) if number > 0 => return Ok(()),
            Err(errno) => return Err(to_errno(errno)),
        }
    }
    Ok(())
}

/// Empties the permitted, effective, inheritable and ambient sets, capabilities(7). A change of uid
/// leaves the inheritable set, and under some securebits all of them.
///
/// # Errors
/// What the kernel says.
pub fn drop_capabilities() -> Result<(), Errno> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, sets).and_then(|()| clear_ambient_capability_set()).map_err(to_errno)
}

/// The same number in the type of the other library.
pub(crate) fn to_errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// A system call that takes numbers alone, which neither std nor nix nor rustix offers.
fn call(number: c_long, arguments: [c_long; 4]) -> Result<c_long, Errno> {
    let [first, second, third, fourth] = arguments;
    // SAFETY: the calls of this file that are made by it take integers, and where they take a pointer, zero,
    // which stands for none there. They neither read nor write memory of ours.
    Errno::result(unsafe { libc::syscall(number, first, second, third, fourth) })
}
