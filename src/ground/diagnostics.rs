//! The programs' own log lines, on stderr, which the Hub copies into its log.

use std::io::{self, Write};
use std::os::fd::AsFd;

use log::LevelFilter;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::escape::{Lines, escape_control_characters};

/// Sends log lines of this level and above to stderr, each as one line whatever it contains, with the
/// program's name in front.
///
/// Only the command line sets the level. `RUST_LOG` is the caller's and is not read.
pub fn start_logging(program: &'static str, level: LevelFilter) {
    env_logger::Builder::new()
        .filter_level(level)
        .target(env_logger::Target::Pipe(Box::new(PatientStderr)))
        .format(move |line, record| {
            let text = escape_control_characters(record.args().to_string().as_bytes(), Lines::One);
            let initial = record.level().as_str().chars().next().unwrap_or('?');
            writeln!(line, "[{initial} {program}] {text}")
        })
        .init();
}

/// How long, in milliseconds, a line may wait for a Hub that does not read its pipe.
const PATIENCE: u16 = 100;
/// How much fits into a pipe when poll(2) calls it writable: pipe(7), PIPE_BUF.
const CHUNK: usize = 4096;

/// A stderr that never blocks a call for long. A caller may read the reply first and the log later, and the
/// server's output may have filled the log's pipe.
struct PatientStderr;

impl Write for PatientStderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        let mut watched = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut watched, PollTimeout::from(PATIENCE)).is_ok_and(|ready| ready > 0) {
            stderr.lock().write_all(line.get(..CHUNK).unwrap_or(line))?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
