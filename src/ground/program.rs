//! A program that root starts: executed by itself and by no shell, in its own session, with three descriptors,
//! default signals, and no variables but its own.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{
    ForkResult, Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, pipe2, read, setsid,
    write,
};

use crate::system_calls::{self, afresh};

/// What is executed.
#[derive(Debug)]
pub struct Program {
    argv: Vec<CString>,
    variables: Vec<CString>,
}

impl Program {
    /// The program with these words, the first of which is its path, and these variables, as `NAME=value`.
    ///
    /// # Errors
    /// EINVAL for a NUL byte, and if there is no word.
    pub fn new<W: Into<Vec<u8>>, V: Into<Vec<u8>>>(
        words: impl IntoIterator<Item = W>,
        variables: impl IntoIterator<Item = V>,
    ) -> Result<Self, Errno> {
        let argv = words.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
        let variables = variables.into_iter().map(CString::new).collect::<Result<_, _>>();
        match (argv, variables) {
            (Ok(argv), Ok(variables)) if !argv.is_empty() => Ok(Self { argv, variables }),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Starts it as a child of this process, with this stdin or an empty one. With `output`, its stdout and stderr, it
    /// also begins as a fresh process, in the root directory. Without, it has the working directory, stdout, stderr
    /// and limits of this process.
    ///
    /// # Errors
    /// What fork(2) and execve(2) say.
    pub fn start(
        &self,
        input: Option<BorrowedFd<'_>>,
        output: Option<[BorrowedFd<'_>; 2]>,
    ) -> Result<Pid, Errno> {
        // It ends with the execution, or carries why there was none.
        let (failure, report) = pipe2(OFlag::O_CLOEXEC)?;
        match system_calls::fork()? {
            ForkResult::Child => {
                let Err(errno) = self.execute(input, output);
                let _ = write(&report, &(errno as i32).to_ne_bytes());
                system_calls::exit_now(127)
            }
            ForkResult::Parent { child } => {
                drop(report);
                let mut errno = [0; 4];
                if read(&failure, &mut errno)? == 0 {
                    return Ok(child);
                }
                let _ = waitpid(child, None);
                Err(Errno::from_raw(i32::from_ne_bytes(errno)))
            }
        }
    }

    fn execute(
        &self,
        input: Option<BorrowedFd<'_>>,
        output: Option<[BorrowedFd<'_>; 2]>,
    ) -> Result<Infallible, Errno> {
        setsid()?;
        let nothing = open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        dup2_stdin(input.unwrap_or(nothing.as_fd()))?;
        if let Some([stdout, stderr]) = output {
            dup2_stdout(stdout)?;
            dup2_stderr(stderr)?;
            chdir("/")?;
            afresh::settle();
        }
        system_calls::close_descriptors_on_exec();
        system_calls::reset_signals();
        execve(self.argv.first().ok_or(Errno::EINVAL)?, &self.argv, &self.variables)
    }
}
