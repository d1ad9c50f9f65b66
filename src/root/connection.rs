//! `--call`: a call through the socket, without sudo. The door (`sudospawner-door`) has accepted it, and executes this
//! program with the connection as stdin and stdout.
//!
//! ```text
//! stop zoe\n           the first line: an action and a name, all of the connection that root reads
//! {"action": "stop", … the request, to the end of what the caller sends
//! ```
//!
//! The caller is whom the kernel names as the one who has connected. The door's word is not needed for that.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ground::connection::find_peer;
use ground::denial::Denial;
use ground::waiting::wait_for_any;
use nix::poll::{PollFd, PollFlags};

use crate::account::{Caller, Way, is_roots_own};

/// The option that the door gives, with the caller's name for the log.
pub const CALL: &str = "--call=";
/// The maximum length of the first line, in bytes, with its end.
const LONGEST_LINE: usize = 255;
/// How long it may take, and how long a caller may leave unread what it is told.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A call through the socket.
pub struct Connection {
    /// Who called.
    pub caller: Caller,
    /// Whom the call is for.
    pub line: Result<FirstLine, Denial>,
}

/// What the first line says.
pub struct FirstLine {
    /// The command line that says the same.
    pub words: Vec<OsString>,
    /// What the request asks for, for the log of a call that is not decided.
    pub action: String,
}

/// If the door has executed this program, reads the first line. For everybody else, above all a Hub behind sudo that
/// brings a socket, this is no option.
#[must_use]
pub fn accept_if_asked(words: &[OsString]) -> Option<Connection> {
    let [word] = words else { return None };
    let name = word.to_str()?.strip_prefix(CALL).filter(|_| is_roots_own())?.to_owned();
    let connection = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
    let uid = find_peer(&connection).ok()?;
    connection.set_write_timeout(Some(LONGEST_WAIT)).ok()?;
    let caller = Caller { uid, name: Some(name), way: Way::Socket };
    Some(Connection { caller, line: read_line(connection).map_err(Denial::LineMalformed) })
}

fn read_line(mut connection: UnixStream) -> Result<FirstLine, &'static str> {
    let begin = Instant::now();
    let mut line = Vec::with_capacity(LONGEST_LINE);
    // Byte by byte: what follows the line is not root's to read.
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        let mut watched = [PollFd::new(connection.as_fd(), PollFlags::POLLIN)];
        let events = wait_for_any(&mut watched, LONGEST_WAIT.saturating_sub(begin.elapsed()));
        if !events.is_ok_and(|events| events.contains(&true)) {
            return Err("it did not come within 10 seconds");
        }
        match connection.read(&mut byte) {
            Ok(1) if line.len() < LONGEST_LINE => line.extend(byte),
            Ok(1) => return Err("it is longer"),
            _ => return Err("it has no end"),
        }
    }
    let line = String::from_utf8(line).map_err(|_| "it is not UTF-8")?;
    let (action, name) = line.trim_end_matches('\n').split_once(' ').ok_or("it has no blank")?;
    Ok(FirstLine { words: vec![format!("--user={name}").into()], action: action.to_owned() })
}
