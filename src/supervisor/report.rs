//! What the processes of a launch tell the mediator, through one pipe.
//!
//! A report is a letter and a number, and for some letters a JSON text of as many bytes. The short ones
//! are written whole or not at all (pipe(7), PIPE_BUF); the long ones come while there is one writer
//! only. After [`Report::Ended`] the server's last output follows, to the end.

use std::io::Read;

use nix::errno::Errno;
use nix::unistd::Pid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::hooks::HookResult;
use crate::process::End;
use crate::server::Refusal;

/// A text in a report has at most this many bytes: 4 KiB of output, escaped twice.
const MAX_TEXT: usize = 256 * 1024;

/// One report.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// A hook runs, or has run.
    Hook(HookResult),
    /// The server's process has been made.
    Server(Pid),
    /// The server's process could not become the server.
    Refused(Refusal),
    /// There is no server.
    Failed(Setback),
    /// The server has ended.
    Ended(End),
}

/// Why there is no server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setback {
    /// This hook did not succeed, and the policy says that this matters.
    Hook(String),
    /// Something could not be given up.
    Privileges(String),
    /// A system call failed: what was being done, and the number of the error.
    Launch(String, i32),
}

impl Setback {
    /// A system call that failed.
    #[must_use]
    pub fn new(step: &str, errno: Errno) -> Self {
        Self::Launch(step.to_owned(), errno as i32)
    }
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        match error {
            Error::HookFailed { name } => Self::Hook(name),
            Error::LaunchFailed { step, errno } => Self::Launch(step, errno as i32),
            other => Self::Privileges(other.to_string()),
        }
    }
}

impl From<Setback> for Error {
    fn from(setback: Setback) -> Self {
        match setback {
            Setback::Hook(name) => Self::HookFailed { name },
            Setback::Privileges(what) => Self::PrivilegesLeft(what),
            Setback::Launch(step, errno) => {
                Self::LaunchFailed { step, errno: Errno::from_raw(errno) }
            }
        }
    }
}

impl Report {
    /// Its bytes in the pipe.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Server(pid) => frame(b'p', pid.as_raw()),
            Self::Refused(Refusal::Home(errno)) => frame(b'h', *errno as i32),
            Self::Refused(Refusal::Execution(errno)) => frame(b'x', *errno as i32),
            Self::Ended(End::Exited(status)) => frame(b'e', *status),
            Self::Ended(End::Killed(signal)) => frame(b'k', *signal),
            Self::Hook(result) => frame_text(b'r', result),
            Self::Failed(setback) => frame_text(b'f', setback),
        }
    }

    /// Reads one report.
    ///
    /// # Errors
    /// `UnexpectedEof` at the end of the pipe, `InvalidData` for bytes that are no report.
    pub fn read(pipe: &mut impl Read) -> std::io::Result<Self> {
        let mut bytes = [0; 5];
        pipe.read_exact(&mut bytes)?;
        let [letter, a, b, c, d] = bytes;
        let number = i32::from_le_bytes([a, b, c, d]);
        let errno = Errno::from_raw(number);
        Ok(match letter {
            b'p' => Self::Server(Pid::from_raw(number)),
            b'h' => Self::Refused(Refusal::Home(errno)),
            b'x' => Self::Refused(Refusal::Execution(errno)),
            b'e' => Self::Ended(End::Exited(number)),
            b'k' => Self::Ended(End::Killed(number)),
            b'r' => Self::Hook(read_text(pipe, number)?),
            b'f' => Self::Failed(read_text(pipe, number)?),
            _ => return Err(std::io::ErrorKind::InvalidData.into()),
        })
    }
}

fn frame(letter: u8, number: i32) -> Vec<u8> {
    let mut bytes = vec![letter];
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes
}

fn frame_text(letter: u8, value: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut bytes = frame(letter, i32::try_from(text.len()).unwrap_or(0));
    bytes.extend_from_slice(&text);
    bytes
}

fn read_text<T: DeserializeOwned>(pipe: &mut impl Read, length: i32) -> std::io::Result<T> {
    let length = usize::try_from(length).ok().filter(|length| *length <= MAX_TEXT);
    let mut text = vec![0; length.ok_or(std::io::ErrorKind::InvalidData)?];
    pipe.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::HookStatus;

    #[test]
    fn every_report_is_read_as_it_was_written() {
        let output = "\u{1}\"\\".repeat(2000);
        for report in [
            Report::Hook(HookResult::new("10-home".as_ref(), HookStatus::Refused, output)),
            Report::Server(Pid::from_raw(i32::MAX)),
            Report::Refused(Refusal::Home(Errno::ENOENT)),
            Report::Refused(Refusal::Execution(Errno::EACCES)),
            Report::Failed(Setback::new("fork", Errno::EAGAIN)),
            Report::Ended(End::Exited(3)),
            Report::Ended(End::Killed(9)),
        ] {
            assert_eq!(Report::read(&mut report.to_bytes().as_slice()).unwrap(), report);
        }
    }

    #[test]
    fn a_pipe_that_ends_is_no_report() {
        for bytes in [&[][..], b"p\x01\x02", b"?\0\0\0\0", b"r\x05\0\0\0{}", b"f\xff\xff\xff\xff"] {
            assert!(Report::read(&mut &*bytes).is_err(), "{bytes:?}");
        }
    }
}
