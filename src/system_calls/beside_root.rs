//! The calls of other programs, and of this one once it is its target: the mediator's root needs none of them.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

/// Forgets every variable of the environment, of which libraries for accounts read some.
pub fn clear_environment() {
    // SAFETY: this program has one thread, and holds no pointer into the environment.
    unsafe {
        libc::clearenv();
    }
}

/// pidfd_send_signal(2), with any number, since what is no signal is the kernel's to refuse.
///
/// # Errors
/// ESRCH, EPERM, EINVAL.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: the descriptor is open while it is borrowed, and a null siginfo is allowed.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0)
    };
    Errno::result(result).map(drop)
}
