//! What the processes of a launch tell the mediator, through one pipe.
//!
//! A report is five bytes, a letter and a number, so that a write is whole or not there at all
//! (pipe(7), PIPE_BUF). After [`Report::Ended`] the server's last output follows, to the end.

use std::io::Read;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::process::End;
use crate::server::Refusal;

/// One report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The server's process has been made.
    Server(Pid),
    /// The server's process could not become the server.
    Refused(Refusal),
    /// The supervisor could not be started, and there is no server.
    Failed(Errno),
    /// The server has ended.
    Ended(End),
}

impl Report {
    /// Its bytes in the pipe.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 5] {
        let (letter, number) = match self {
            Self::Server(pid) => (b'p', pid.as_raw()),
            Self::Refused(Refusal::Home(errno)) => (b'h', errno as i32),
            Self::Refused(Refusal::Execution(errno)) => (b'x', errno as i32),
            Self::Failed(errno) => (b'f', errno as i32),
            Self::Ended(End::Exited(status)) => (b'e', status),
            Self::Ended(End::Killed(signal)) => (b'k', signal),
        };
        let [a, b, c, d] = number.to_le_bytes();
        [letter, a, b, c, d]
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
        match letter {
            b'p' => Ok(Self::Server(Pid::from_raw(number))),
            b'h' => Ok(Self::Refused(Refusal::Home(errno))),
            b'x' => Ok(Self::Refused(Refusal::Execution(errno))),
            b'f' => Ok(Self::Failed(errno)),
            b'e' => Ok(Self::Ended(End::Exited(number))),
            b'k' => Ok(Self::Ended(End::Killed(number))),
            _ => Err(std::io::ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_report_is_read_as_it_was_written() {
        for report in [
            Report::Server(Pid::from_raw(i32::MAX)),
            Report::Refused(Refusal::Home(Errno::ENOENT)),
            Report::Refused(Refusal::Execution(Errno::EACCES)),
            Report::Failed(Errno::EAGAIN),
            Report::Ended(End::Exited(3)),
            Report::Ended(End::Killed(9)),
        ] {
            assert_eq!(Report::read(&mut report.to_bytes().as_slice()).unwrap(), report);
        }
    }

    #[test]
    fn a_pipe_that_ends_is_no_report() {
        assert!(Report::read(&mut [].as_slice()).is_err());
        assert!(Report::read(&mut [b'p', 1, 2].as_slice()).is_err());
        assert!(Report::read(&mut [b'?', 0, 0, 0, 0].as_slice()).is_err());
    }
}
