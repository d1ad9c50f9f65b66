//! Lines in the system's authentication log.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

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
/// What the kernel says if there is no log or nobody reads it.
pub fn write_line(program: &str, severity: Severity, text: &str) -> io::Result<()> {
    let text = escape_control_characters(text.as_bytes(), Lines::One);
    let priority = AUTHPRIV.saturating_mul(8).saturating_add(severity as u8);
    let line = format!("<{priority}>{program}[{}]: {text}", std::process::id());
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send_to(line.as_bytes(), "/dev/log").map(drop)
}
