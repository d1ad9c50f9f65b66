//! One line in the system's authentication log for every decision, yes or no.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::account::Caller;
use ground::escape::{Lines, escape_control_characters};

/// Facility authpriv (10), severity info (6), as syslog(3) and RFC 3164 number them.
const PRIORITY: u8 = 10 * 8 + 6;

/// What is written of one call.
#[derive(Debug)]
pub struct Record<'a> {
    /// Who called, if that could be told.
    pub caller: Option<Caller>,
    /// The target's name, if it is known.
    pub target: Option<&'a str>,
    /// The action, if the request could be read.
    pub action: Option<&'a str>,
    /// `ok`, or the code of the failure.
    pub code: &'a str,
}

/// How long a log that somebody floods is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes the line to `/dev/log`, in the name of one of our programs. A log that cannot be written is never
/// a reason to fail, and is waited for a second at most.
///
/// # Errors
/// Where there is none, or nobody reads it, a line to be said elsewhere.
pub fn write_record(program: &str, record: &Record<'_>) -> Result<(), String> {
    let unknown = "?";
    let text = format!(
        "caller={} target={} action={} code={}",
        record.caller.map_or_else(|| unknown.to_owned(), |caller| caller.uid.to_string()),
        record.target.unwrap_or(unknown),
        record.action.unwrap_or(unknown),
        record.code,
    );
    let text = escape_control_characters(text.as_bytes(), Lines::One);
    let line = format!("<{PRIORITY}>{program}[{}]: {text}", std::process::id());
    send(line.as_bytes()).map_err(|error| format!("audit (not in syslog: {error}): {text}"))
}

fn send(line: &[u8]) -> std::io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send_to(line, "/dev/log").map(drop)
}

/// Writes such a line to stderr, if that takes it at once.
pub fn write_to_stderr(line: &str) {
    let stderr = std::io::stderr();
    let mut watched = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut watched, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
        // In one piece, since there may be room for no second one.
        let _ = nix::unistd::write(&stderr, format!("[I sudospawner] {line}\n").as_bytes());
    }
}
