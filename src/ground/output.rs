//! Reads the output of a program and waits for its end, both within limits, whatever the program does.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::unistd::{Pid, pipe2};

use crate::pidfd::Pidfd;
use crate::waiting::wait_for_any;

/// How many bytes are read at once.
const CHUNK: usize = 4096;

/// The last output of a program.
#[derive(Debug, Default)]
pub struct Output {
    /// Where the output comes from, until its end; `None` if output is not kept.
    pipe: Option<OwnedFd>,
    /// How many bytes are kept.
    most: usize,
    /// The last bytes that came.
    pub bytes: Vec<u8>,
}

impl Output {
    /// Keeps the last `most` bytes written to the returned pipe. Use the default for a program whose stdout
    /// and stderr go elsewhere.
    ///
    /// # Errors
    /// What pipe(2) says.
    pub fn keep(most: usize) -> Result<(Self, OwnedFd), Errno> {
        let (output, input) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((Self { pipe: Some(output), most, bytes: Vec::new() }, input))
    }

    /// Reads until the program, a child of this process, has ended; returns false if it does not end in time.
    ///
    /// # Errors
    /// What pidfd_open(2) and poll(2) say.
    pub fn read_until_end_of(&mut self, program: Pid, limit: Duration) -> Result<bool, Errno> {
        let pidfd = Pidfd::open(program)?;
        let begin = Instant::now();
        loop {
            let left = limit.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Ok(false);
            }
            let mut watched = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            watched.extend(self.pipe.iter().map(|one| PollFd::new(one.as_fd(), PollFlags::POLLIN)));
            let has_ended = wait_for_any(&mut watched, left)?.first() == Some(&true);
            drop(watched);
            self.read();
            if has_ended {
                return Ok(true);
            }
        }
    }

    /// Reads what is there, at most the size of a pipe at once, so that a flood does not outlast the time
    /// limit.
    pub fn read(&mut self) {
        let mut chunk = [0; CHUNK];
        for _ in 0..16 {
            let Some(pipe) = &self.pipe else { return };
            match nix::unistd::read(pipe, &mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    self.bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
                    let excess = self.bytes.len().saturating_sub(self.most);
                    self.bytes.drain(..excess);
                }
                Err(_) => return,
            }
        }
    }
}
