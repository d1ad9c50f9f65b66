//! Lines in the system's authentication log.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::escape::{Lines, escape_control_characters};

/// Facility authpriv, as RFC 3164 numbers it.
const AUTHPRIV: u8 = 10;
/// How long to wait for a log that somebody floods.
const PATIENCE: Duration = Duration::from_secs(1);

/// How much a line matters, as RFC 3164 numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something was not done that should have been.
    Warning = 4,
    /// Something was decided or done.
    Info = 6,
}

/// Writes a line to `/dev/log` in the name of one of our programs, escaped. Waits at most a second for a full log.
///
/// # Errors
/// The line to write elsewhere, if there is no log or nobody reads it.
pub fn write_line(program: &str, severity: Severity, text: &str) -> Result<(), String> {
    let text = escape_control_characters(text.as_bytes(), Lines::One);
    let priority = AUTHPRIV.saturating_mul(8).saturating_add(severity as u8);
    let line = format!("<{priority}>{program}[{}]: {text}", std::process::id());
    send(line.as_bytes()).map_err(|error| format!("audit (not in syslog: {error}): {text}"))
}

fn send(line: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send_to(line, "/dev/log").map(drop)
}

/// Writes such a line to stderr, if stderr accepts it at once.
pub fn write_to_stderr(line: &str) {
    let stderr = std::io::stderr();
    let mut watched = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut watched, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
        // In one write, since there may be no room for a second.
        let _ = nix::unistd::write(&stderr, format!("[I sudospawner] {line}\n").as_bytes());
    }
}
