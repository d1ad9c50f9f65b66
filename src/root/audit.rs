//! Writes one line to the system's authentication log for every decision, yes or no.

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::account::Caller;
use ground::escape::{Lines, escape_control_characters};
use ground::syslog::{self, Severity};

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

/// Writes another line in the same way.
///
/// # Errors
/// Those of [`write_record`].
pub fn write_line(program: &str, text: &str) -> Result<(), String> {
    syslog::write_line(program, Severity::Info, text).map_err(|error| {
        let text = escape_control_characters(text.as_bytes(), Lines::One);
        format!("audit (not in syslog: {error}): {text}")
    })
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
