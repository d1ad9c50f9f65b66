//! Processes of the check that something else may block: a program that is asked, or a look as another
//! account. Each has its own session (and so no access to root's terminal), a time limit and an output limit.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, pipe2, read, setsid};

use ground::pidfd::Pidfd;
use ground::system_calls;
use ground::waiting::wait_for_any;

/// How much of one stream is read, in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// How long to wait after SIGKILL for the process to end.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Why there is no answer, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence(pub String);

impl fmt::Display for Silence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The process's ends of its pipes.
pub struct Ends {
    /// What it reads.
    pub input: OwnedFd,
    /// Carries its answer.
    pub output: OwnedFd,
    /// Carries its complaints.
    pub complaint: OwnedFd,
}

/// What a process said until it ended.
#[derive(Debug)]
pub struct Said {
    /// Whether its status was 0.
    pub success: bool,
    /// Its answer.
    pub output: Vec<u8>,
    /// Its complaints.
    pub complaint: Vec<u8>,
}

/// Runs `body` in a separate process and hears it until that process ends, but no other holder of the pipes
/// after that. `who` begins the sentence if there is no answer. `body` returns whether it succeeded, if it
/// returns at all.
///
/// # Errors
/// A process that takes too long or says too much is killed.
pub fn run_apart(
    who: &str,
    limit: Duration,
    input: &[u8],
    body: impl FnOnce(Ends) -> bool,
) -> Result<Said, Silence> {
    let failed = |errno: Errno| Silence(format!("{who} could not be asked: {errno}"));
    let [stdin, stdout, stderr] = [(); 3].map(|()| pipe2(OFlag::O_CLOEXEC));
    let (stdin, to_stdin) = stdin.map_err(failed)?;
    let (from_stdout, stdout) = stdout.map_err(failed)?;
    let (from_stderr, stderr) = stderr.map_err(failed)?;
    match system_calls::fork().map_err(failed)? {
        ForkResult::Child => {
            drop((to_stdin, from_stdout, from_stderr));
            let _ = setsid();
            // What the kernel does not let end would keep our own stdout from whoever reads it to its end.
            let _ = dup2_stdin(&stdin).and(dup2_stdout(&stdout)).and(dup2_stderr(&stderr));
            let is_done = body(Ends { input: stdin, output: stdout, complaint: stderr });
            system_calls::exit_now(i32::from(!is_done))
        }
        ForkResult::Parent { child } => {
            drop((stdin, stdout, stderr));
            // A pipe holds this much, and a process that refuses does not read it.
            let _ = File::from(to_stdin).write_all(input);
            let [mut output, mut complaint] = [from_stdout, from_stderr].map(Stream::new);
            if let Err(why) = hear(child, &mut [&mut output, &mut complaint], limit) {
                end(child);
                return Err(Silence(format!("{who} {why}")));
            }
            let success = waitpid(child, None) == Ok(WaitStatus::Exited(child, 0));
            Ok(Said { success, output: output.bytes, complaint: complaint.bytes })
        }
    }
}

/// One pipe of a process, until its end.
struct Stream {
    end: Option<OwnedFd>,
    bytes: Vec<u8>,
}

impl Stream {
    fn new(end: OwnedFd) -> Self {
        // This open file is ours alone. The other end, which others hold, is a separate one.
        let end = fcntl(&end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_ok().then_some(end);
        Self { end, bytes: Vec::new() }
    }

    /// Reads what is there. An error if it is too much.
    fn read(&mut self) -> Result<(), String> {
        let mut chunk = [0; 8192];
        while let Some(end) = &self.end {
            match read(end, &mut chunk) {
                Ok(0) => self.end = None,
                Ok(count) => self.bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
            if self.bytes.len() > MAX_BYTES {
                return Err(format!("said more than {} KiB", MAX_BYTES / 1024));
            }
        }
        Ok(())
    }
}

/// Reads until the process has ended.
fn hear(child: Pid, streams: &mut [&mut Stream], limit: Duration) -> Result<(), String> {
    let lost = |errno: Errno| format!("could not be heard: {errno}");
    let pidfd = Pidfd::open(child).map_err(lost)?;
    let begin = Instant::now();
    loop {
        let left = limit.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return Err(format!("did not answer within {} s", limit.as_secs()));
        }
        let mut watched = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let ends = streams.iter().filter_map(|stream| stream.end.as_ref());
        watched.extend(ends.map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN)));
        let has_ended = wait_for_any(&mut watched, left).map_err(lost)?.first() == Some(&true);
        drop(watched);
        for stream in &mut *streams {
            stream.read()?;
        }
        if has_ended {
            return Ok(());
        }
    }
}

/// Kills a process, and what it started in its process group.
fn end(child: Pid) {
    // Its pid, which is also its group's, is not reused until it is reaped.
    let _ = killpg(child, Signal::SIGKILL);
    let _ = kill(child, Signal::SIGKILL);
    // The Hub's account may not kill a sudo, and nobody can kill what the kernel blocks.
    let _ = Pidfd::open(child).map(|held| held.wait_for_end(LAST_WAIT));
    let _ = waitpid(child, Some(WaitPidFlag::WNOHANG));
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(1);
    const LATE: Duration = Duration::from_secs(60);

    fn write(end: OwnedFd, text: &[u8]) -> bool {
        File::from(end).write_all(text).is_ok()
    }

    #[test]
    fn what_a_process_says_is_heard_with_its_status() {
        let said = run_apart("it", LATE, b"in", |ends| {
            !(write(ends.output, b"out") && write(ends.complaint, b"but"))
        });
        let said = said.unwrap();
        assert_eq!((said.output.as_slice(), said.complaint.as_slice()), (&b"out"[..], &b"but"[..]));
        assert!(!said.success);
        assert!(run_apart("it", LATE, b"", |_| true).unwrap().success);
    }

    #[test]
    fn a_process_that_stops_or_says_too_much_is_ended_and_said() {
        let stopped =
            run_apart("it", SOON, b"", |_| nix::sys::signal::raise(Signal::SIGSTOP).is_ok());
        assert_eq!(stopped.unwrap_err().to_string(), "it did not answer within 1 s");
        let flood = run_apart("it", LATE, b"", |ends| write(ends.output, &[b'x'; 1 << 20]));
        assert_eq!(flood.unwrap_err().to_string(), "it said more than 256 KiB");
    }

    #[test]
    fn whoever_holds_a_pipe_longer_is_not_waited_for() {
        let begin = Instant::now();
        let said = run_apart("it", LATE, b"", |ends| {
            // The process that is left behind holds everything that the first one had.
            if let Ok(ForkResult::Child) = system_calls::fork() {
                let _ = wait_for_any(&mut [], Duration::from_secs(20));
                system_calls::exit_now(0);
            }
            write(ends.output, b"out")
        });
        assert_eq!(said.unwrap().output, b"out");
        assert!(begin.elapsed() < Duration::from_secs(15));
    }
}
