//! System calls without a safe function in std or nix. All `unsafe` is here and in the files below.

#![allow(unsafe_code)]

pub mod afresh;

use std::ffi::{CStr, CString, c_long};
use std::fs::{File, Permissions};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, execve, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// Copies a file into memory that nobody can change any more, memfd_create(2), open to its owner alone. No memory of
/// this process ever has the content.
///
/// # Errors
/// What the kernel says.
pub fn copy_into_memory(file: &mut File) -> std::io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut copy = File::from(memfd_create("copy", flags)?);
    std::io::copy(file, &mut copy)?;
    copy.set_permissions(Permissions::from_mode(0o600))?;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
    Ok(copy)
}

/// fork(2).
///
/// # Errors
/// What the kernel says, usually EAGAIN at the limit of processes.
pub fn fork() -> Result<ForkResult, Errno> {
    // SAFETY: this program never starts a thread. So the child's copy of memory is consistent, and the child
    // may do whatever the parent could.
    unsafe { nix::unistd::fork() }
}

/// Ends this process at once, so that no library's exit handler runs in a forked child.
pub fn exit_now(status: i32) -> ! {
    let _ = call(libc::SYS_exit_group, [c_long::from(status), 0, 0, 0]);
    // Not reached: that call does not return.
    std::process::abort()
}

/// Executes our own binary again, with this command line, an empty environment, and no descriptors but these and
/// the first three: libraries may have left others open. Returns only on failure.
///
/// An exec drops everything that the mediator has allocated, which a fork would keep. It does not go by the
/// path, so a package that was just replaced, or a directory that the target cannot enter, changes nothing.
pub fn execute_anew(argv: &[CString], kept: &[BorrowedFd<'_>]) -> Errno {
    execute(Path::new("/proc/self/exe"), argv, kept)
}

/// Executes a program of ours with this command line, an empty environment, and no descriptors but these and the first
/// three. Returns only on failure.
pub fn execute(path: &Path, argv: &[CString], kept: &[BorrowedFd<'_>]) -> Errno {
    close_descriptors_on_exec();
    let mut kept = kept.iter().map(|one| fcntl(one, FcntlArg::F_SETFD(FdFlag::empty())));
    let no_variables: [&CStr; 0] = [];
    kept.find_map(Result::err).unwrap_or_else(|| {
        let path = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
        execve(&path, argv, &no_variables).err().unwrap_or(Errno::ENOEXEC)
    })
}

/// Takes over a descriptor that this process was started with; `None` if it is not open.
#[must_use]
pub fn adopt_descriptor(number: RawFd) -> Option<OwnedFd> {
    if number < 3 || std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err() {
        return None;
    }
    // SAFETY: the descriptor is open, and nothing else in this program owns it: this is called only at the
    // start, before the program opens anything, and once for each number.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    // It was passed on to this program, and not to those that this one starts.
    fcntl(&descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).is_ok().then_some(descriptor)
}

/// The path of another of our programs, which lie beside each other.
#[must_use]
pub fn find_beside(name: &str) -> PathBuf {
    std::fs::read_link("/proc/self/exe").unwrap_or_default().with_file_name(name)
}

/// Check 1 of docs/security.md. Every program that may be root for somebody else calls this before it opens
/// anything: the mediator, a subcommand, a unit's first process and `jsd-helper`. It resets descriptors,
/// signals and umask, whatever the caller's were, and returns the caller's umask.
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
/// speak in its name. The kernel does so from the first instruction on if the account cannot read the program
/// (mode 0711), and on a change of uid, unless `fs.suid_dumpable` is 1.
pub fn close_to_own_account() {
    let _ = prctl::set_dumpable(false);
}

/// Clears the environment. The C library's account lookups read some of its variables.
pub fn clear_environment() {
    // SAFETY: this program has one thread, and holds no pointer into the environment.
    unsafe {
        libc::clearenv();
    }
}

/// Closes every descriptor but stdin, stdout and stderr. If those were closed, std has opened them to
/// `/dev/null`. Call this before opening anything else.
fn close_inherited_descriptors() {
    let Ok(directory) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<RawFd> =
        directory.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The list includes the directory's own descriptor, which is closed by now.
    for number in numbers.into_iter().filter(|number| *number > 2) {
        let _ = nix::unistd::close(number);
    }
}

/// Marks every descriptor but stdin, stdout and stderr to be closed on exec. A kernel without this call
/// (before Linux 5.11) leaves inherited ones open.
pub fn close_descriptors_on_exec() {
    let (first, last) = (3, c_long::from(libc::c_uint::MAX));
    let how = c_long::from(libc::CLOSE_RANGE_CLOEXEC);
    let _ = call(libc::SYS_close_range, [first, last, how, 0]);
}

/// Gives every signal its default action and unblocks all, as a new program may expect.
pub fn reset_signals() {
    reset_actions(|_| true);
}

/// Sets the signals that this program relies on, whatever the caller ignored or blocked; it has to be able to
/// wait for its children. SIGPIPE stays ignored, as std has set it before `main`, so that writing to a reader
/// that is gone fails with an error.
pub fn own_signals() {
    reset_actions(|signal| signal != libc::SIGPIPE);
}

fn reset_actions(is_reset: impl Fn(libc::c_int) -> bool) {
    /// As large as the kernel's `struct sigaction` on any machine; all zeros are SIG_DFL.
    const DEFAULT: [u64; 8] = [0; 8];
    const MASK_BYTES: usize = 8;
    let no_old_action: *mut libc::c_void = std::ptr::null_mut();
    for signal in (1..=64).filter(|signal| is_reset(*signal)) {
        // Not sigaction(3): it refuses the two signals that the C library keeps for itself, and the caller
        // may have ignored those, too.
        // SAFETY: the kernel reads no more than its struct from DEFAULT, and the default action runs no code
        // of ours. SIGKILL and SIGSTOP give EINVAL; they always have the default action.
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

/// Calls pidfd_send_signal(2). The kernel decides which numbers are signals.
///
/// # Errors
/// ESRCH, EPERM, EINVAL.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    const NO_INFO: c_long = 0;
    let pidfd = c_long::from(pidfd.as_raw_fd());
    call(libc::SYS_pidfd_send_signal, [pidfd, c_long::from(signal), NO_INFO, 0]).map(drop)
}

/// Joins a new session keyring, keyctl(2), so that the caller's keys are out of reach. This needs no
/// privilege. A kernel without keyrings has none to share.
///
/// # Errors
/// EDQUOT if the account has too many keys.
pub fn join_new_session_keyring() -> Result<(), Errno> {
    const JOIN_SESSION_KEYRING: c_long = 1;
    const ANONYMOUS: c_long = 0;
    match call(libc::SYS_keyctl, [JOIN_SESSION_KEYRING, ANONYMOUS, 0, 0]) {
        // Containers whose filter forbids keyctl answer EPERM.
        Ok(_) | Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The day on which an account expires, counted from 1970-01-01, shadow(5). `None` if the account never
/// expires, or if the shadow database has nothing on it.
#[must_use]
pub fn find_day_of_expiry(name: &CStr) -> Option<u64> {
    // SAFETY: this program has one thread. It reads the entry, if getspnam(3) has found one, before the next
    // call can overwrite it.
    let day = unsafe { getspnam(name.as_ptr()).as_ref().map(|entry| entry.sp_expire) };
    day.and_then(|day| u64::try_from(day).ok())
}

unsafe extern "C" {
    /// The libc crate lacks this for Linux. It has getspnam_r(3), which needs a growing buffer.
    fn getspnam(name: *const libc::c_char) -> *const libc::spwd;
}

/// Empties the bounding set, so that no program executed later can gain a capability.
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn empty_bounding_set() -> Result<(), Errno> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // One past the last capability of this kernel.
            Err(rustix::io::Errno::INVAL) if number > 0 => return Ok(()),
            Err(errno) => return Err(to_errno(errno)),
        }
    }
    Ok(())
}

/// Empties the permitted, effective, inheritable and ambient sets, capabilities(7). A change of uid keeps the
/// inheritable set, and with some securebits all of them.
///
/// # Errors
/// What the kernel says.
pub fn drop_capabilities() -> Result<(), Errno> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, sets).and_then(|()| clear_ambient_capability_set()).map_err(to_errno)
}

/// Whether this process may signal those of other accounts: root needs CAP_KILL for that, as everyone does.
#[must_use]
pub fn may_end_others() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::KILL))
}

/// getsockopt(2) at the level of sockets, for an option of at most three numbers. The rest are zero.
///
/// # Errors
/// ENOTSOCK, ENOPROTOOPT.
pub fn get_socket_option(
    socket: BorrowedFd<'_>,
    option: libc::c_int,
) -> Result<[libc::c_uint; 3], Errno> {
    let mut numbers = [0; 3];
    let mut length = libc::socklen_t::try_from(size_of_val(&numbers)).unwrap_or(0);
    // Not through rustix, in whose struct the peer's pid cannot be zero. It is for a process of another pid namespace.
    // SAFETY: the kernel writes at most `length` bytes to `numbers`, and any bytes are numbers.
    let done = unsafe {
        let place = numbers.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, place, &raw mut length)
    };
    Errno::result(done).map(|_| numbers)
}

/// Converts rustix's error into nix's.
pub(crate) fn to_errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// Makes a system call that takes only numbers and that std, nix and rustix lack.
fn call(number: c_long, arguments: [c_long; 4]) -> Result<c_long, Errno> {
    let [first, second, third, fourth] = arguments;
    // SAFETY: every call that this file makes through here takes integers. Where a call takes a pointer, zero
    // stands for none. So no call reads or writes our memory.
    Errno::result(unsafe { libc::syscall(number, first, second, third, fourth) })
}
