//! Reads the bytes of one request from stdin, within a size and a time limit.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{MAX_BYTES, Request, TIME_LIMIT};
use crate::error::Error;

impl Request {
    /// Reads stdin to its end.
    ///
    /// # Errors
    /// [`Error::RequestTooLarge`], [`Error::RequestTimeout`], and [`Error::MalformedRequest`] if stdin
    /// cannot be read.
    pub fn read(mut input: impl Read + AsFd) -> Result<Vec<u8>, Error> {
        let deadline = Instant::now().checked_add(TIME_LIMIT);
        let mut bytes = Vec::new();
        loop {
            wait_for_input(input.as_fd(), deadline)?;
            let mut chunk = [0; 16 * 1024];
            let count = match input.read(&mut chunk) {
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(&error.to_string())),
            };
            if count == 0 {
                return Ok(bytes);
            }
            bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
            if bytes.len() > MAX_BYTES {
                return Err(Error::RequestTooLarge { limit: MAX_BYTES });
            }
        }
    }
}

fn wait_for_input(input: BorrowedFd<'_>, deadline: Option<Instant>) -> Result<(), Error> {
    loop {
        let left = deadline
            .and_then(|deadline| deadline.checked_duration_since(Instant::now()))
            .filter(|left| !left.is_zero())
            .ok_or(Error::RequestTimeout { seconds: TIME_LIMIT.as_secs() })?;
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(input, PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(unreadable(errno.desc())),
        }
    }
}

fn unreadable(reason: &str) -> Error {
    Error::MalformedRequest(format!("stdin cannot be read: {reason}"))
}
