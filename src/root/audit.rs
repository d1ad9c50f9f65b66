//! Writes one line to the system's authentication log for every decision, yes or no.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::account::Caller;
use ground::escape::{Lines, escape_control_characters};

/// Facility authpriv (10), severity info (6), as syslog(3) and RFC 3164 number them.
const PRIORITY: u8 = 10 * 8 + 6;

/// What is logged of one call.
#[derive(Debug)]
pub struct Record<'a> {
    /// Who called, if known.
    pub caller: Option<&'a Caller>,
    /// The target's name, if known.
    pub target: Option<&'a str>,
    /// The action, if the request could be read.
    pub action: Option<&'a str>,
    /// `ok`, or the code of the failure.
    pub code: &'a str,
}

/// How long to wait for a log that somebody floods.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes the line to `/dev/log` in the name of one of our programs. Waits at most a second for a full log. A
/// call never fails because of the log.
///
/// # Errors
/// The line to write elsewhere, if there is no log or nobody reads it.
pub fn write_record(program: &str, record: &Record<'_>) -> Result<(), String> {
    let unknown = "?";
    let caller = record.caller.map(Caller::to_string);
    // A blank in a name must not begin another field.
    let [caller, target] = [caller.as_deref(), record.target]
        .map(|name| name.unwrap_or(unknown).replace(' ', "\\x20"));
    let (action, code) = (record.action.unwrap_or(unknown), record.code);
    write_line(program, &format!("caller={caller} target={target} action={action} code={code}"))
}

/// Writes another line, escaped, in the same way.
///
/// # Errors
/// Those of [`write_record`].
pub fn write_line(program: &str, text: &str) -> Result<(), String> {
    let text = escape_control_characters(text.as_bytes(), Lines::One);
    let line = format!("<{PRIORITY}>{program}[{}]: {text}", std::process::id());
    send(line.as_bytes()).map_err(|error| format!("audit (not in syslog: {error}): {text}"))
}

fn send(line: &[u8]) -> std::io::Result<()> {
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
