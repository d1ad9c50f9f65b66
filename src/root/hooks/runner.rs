//! Runs one hook with a time limit, and keeps control of everything that it starts.
//!
//! Whatever a hook does with sessions and double forks, its processes come to the process above it, which is
//! a subreaper. Once an earlier hook has left a process there, each further hook gets a subreaper of its own
//! above it, to keep the processes apart.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, pipe2, setsid};

use ground::ending::{end_children, end_session, has_children};
use ground::escape::{Lines, escape_control_characters};
use ground::output::Output;
use ground::program::Program;
use ground::report::{HookResult, HookStatus};
use ground::system_calls;

/// How much of a hook's last output is kept, in bytes.
const TAIL_BYTES: usize = 4096;
/// The time between SIGTERM and SIGKILL for a hook that took too long.
const GRACE: Duration = Duration::from_secs(1);

/// How hooks are run.
#[derive(Debug)]
pub struct Runner {
    /// How long each may take.
    pub timeout: Duration,
    /// Their only variables, as `NAME=value`.
    pub variables: Vec<Vec<u8>>,
    /// What else they inherit.
    pub surroundings: Surroundings,
}

/// What a hook inherits. In either case its stdin is empty and it has its own session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surroundings {
    /// The root directory, and nothing that the caller could set. The last output is kept.
    Clean,
    /// This process's working directory, stdout, stderr and limits.
    Inherited,
}

impl Runner {
    /// Runs one hook and waits for it. A daemon left by a hook that succeeded becomes this process's child.
    #[must_use]
    pub fn run(&self, path: &Path) -> HookResult {
        let name = path.file_name().map_or(path, Path::new);
        // If the hook fails, all orphans that came to this process have to be the hook's. That holds if this
        // process is a subreaper without orphans of an earlier hook.
        let result = if prctl::get_child_subreaper() == Ok(true) && !has_children() {
            self.run_here(path, name)
        } else {
            self.run_apart(path, name)
        };
        result.unwrap_or_else(|errno| {
            HookResult::new(name, HookStatus::Failed, format!("it could not be run: {errno}"))
        })
    }

    fn run_apart(&self, path: &Path, name: &Path) -> Result<HookResult, Errno> {
        let (result, report) = pipe2(OFlag::O_CLOEXEC)?;
        match system_calls::fork()? {
            ForkResult::Child => {
                drop(result);
                let text = setsid()
                    .and_then(|_| prctl::set_child_subreaper(true))
                    .and_then(|()| self.run_here(path, name))
                    .map(|result| serde_json::to_vec(&result).unwrap_or_default());
                let _ = File::from(report).write_all(&text.unwrap_or_default());
                system_calls::exit_now(0)
            }
            ForkResult::Parent { child } => {
                drop(report);
                let mut text = Vec::new();
                let _ = File::from(result).read_to_end(&mut text);
                let _ = waitpid(child, None);
                serde_json::from_slice(&text).map_err(|_| Errno::ECHILD)
            }
        }
    }

    /// Runs in the process above the hook, which receives its orphans.
    fn run_here(&self, path: &Path, name: &Path) -> Result<HookResult, Errno> {
        let program = Program::new([path.as_os_str().as_bytes()], self.variables.clone())?;
        let begin = Instant::now();
        let mut output = Output::default();
        let started = match self.surroundings {
            Surroundings::Inherited => program.start(None, None),
            Surroundings::Clean => {
                let (kept, input) = Output::keep(TAIL_BYTES)?;
                output = kept;
                program.start(None, Some([input.as_fd(); 2]))
            }
        };
        let hook = match started {
            Ok(hook) => hook,
            Err(errno) => {
                let reason = format!("it could not be executed: {}", errno.desc());
                return Ok(HookResult::new(name, HookStatus::Failed, reason));
            }
        };
        let in_time = output.read_until_end_of(hook, self.timeout);
        let in_time = in_time.inspect_err(|_| end_children(GRACE))?;
        let (status, exit, signal) = match in_time.then(|| waitpid(hook, None)) {
            Some(Ok(WaitStatus::Exited(_, 0))) => (HookStatus::Ok, Some(0), None),
            Some(Ok(WaitStatus::Exited(_, exit))) => (HookStatus::Failed, Some(exit), None),
            Some(Ok(WaitStatus::Signaled(_, signal, _))) => {
                (HookStatus::Failed, None, Some(signal as i32))
            }
            Some(_) => (HookStatus::Failed, None, None),
            None => {
                end_session(hook, GRACE);
                (HookStatus::Timeout, None, None)
            }
        };
        if status != HookStatus::Ok {
            end_children(GRACE);
        }
        output.read();
        Ok(HookResult {
            exit,
            signal,
            seconds: (begin.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            output: escape_control_characters(&output.bytes, Lines::Many),
            ..HookResult::new(name, status, String::new())
        })
    }
}
