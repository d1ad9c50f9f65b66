//! The server: finds its file, checks that the target can execute it, and executes it.
//!
//! The file is beside this program's own binary, which is found by `/proc/self/exe`, or in the directory that
//! the policy names. The caller and PATH have no influence on that.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Pid, access, chdir, execve};

use crate::error::Error;
use crate::mode::Mode;
use crate::process::stat::Stat;
use ground::report::Report;
use ground::script::read_interpreter_of;
use ground::system_calls;
use ground::wire::Wire;
use root::policy::file::Policy;
use root::privileges::Unprivileged;
use root::trusted_file::Distrust;
use root::trusted_file::program::open_trusted_program;

/// The server executables, in search order. The first is for a site that wraps the second.
pub const SIBLINGS: [&str; 2] = ["sudospawner-singleuser", "jupyterhub-singleuser"];

/// A server's file that the target may execute.
#[derive(Debug)]
pub struct Executable {
    path: PathBuf,
}

impl Executable {
    /// Finds the server's file beside our own binary, or in the policy's directory, and checks who could have
    /// written it (check 2).
    ///
    /// # Errors
    /// [`Error::ServerMissing`], [`Error::ServerUntrusted`] in root mode and for the policy's directory,
    /// [`Error::ServerNotExecutable`].
    pub fn find(policy: &Policy, mode: Mode, proof: &Unprivileged) -> Result<Self, Error> {
        let directory = choose_directory(policy);
        for name in SIBLINGS {
            let executable = Self { path: directory.join(name) };
            match fs::symlink_metadata(&executable.path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                _ => {}
            }
            let must_be_trusted = mode == Mode::Root || policy.server.directory.is_some();
            match open_trusted_program(&executable.path) {
                Err(distrust) if must_be_trusted => {
                    return Err(Error::ServerUntrusted(distrust.to_string()));
                }
                // If the target cannot open the file, the next check explains why.
                Err(Distrust::Closed(..)) | Ok(_) => {}
                Err(distrust) => log::warn!("whoever can write it can be any user: {distrust}"),
            }
            executable.check_access(&proof.target().name)?;
            return Ok(executable);
        }
        Err(Error::ServerMissing { directory })
    }

    fn check_access(&self, target: &str) -> Result<(), Error> {
        let reason = match access(&self.path, AccessFlags::X_OK) {
            Ok(()) if self.path.is_file() => return Ok(()),
            Ok(()) => "it is not a regular file".to_owned(),
            Err(errno) => explain_access(&self.path, errno),
        };
        let (path, target) = (self.path.clone(), target.to_owned());
        Err(Error::ServerNotExecutable { path, target, reason })
    }

    /// Becomes the server: enters the directory, usually the target's home, says so, resets signals, and
    /// executes the file with exactly these arguments and variables. Returns only on failure.
    ///
    /// # Errors
    /// [`Error::HomeMissing`], [`Error::ServerNotExecutable`] and [`Error::ExecFailed`].
    pub fn execute(
        &self,
        args: &[CString],
        variables: &[CString],
        directory: &Path,
        wire: &mut Wire,
        proof: &Unprivileged,
    ) -> Result<Infallible, Error> {
        let target = &proof.target().name;
        let at_home = |errno| Error::HomeMissing {
            home: directory.to_owned(),
            target: target.clone(),
            errno,
        };
        chdir(directory).map_err(at_home)?;
        // The directory may have answered when nobody waited any more, nor was able to end this process.
        if wire.is_abandoned() {
            return Err(at_home(Errno::ETIMEDOUT));
        }
        wire.send(&Report::Entered(Stat::read(Pid::this()).map(|stat| stat.started)));
        let path = CString::new(self.path.as_os_str().as_bytes());
        let path = path.map_err(|_| Error::at("the server's path")(Errno::EINVAL))?;
        let mut argv = vec![path.as_c_str()];
        argv.extend(args.iter().map(CString::as_c_str));
        system_calls::close_descriptors_on_exec();
        system_calls::reset_signals();
        execve(&path, &argv, variables).map_err(|errno| self.explain(errno, target))
    }

    /// The error for a refusal of the kernel, with the cause if the file shows it.
    fn explain(&self, errno: Errno, target: &str) -> Error {
        if let Err(error) = self.check_access(target) {
            return error;
        }
        let reason = match (errno, read_interpreter_of(&self.path)) {
            (Errno::ENOENT | Errno::EACCES, Some(interpreter)) => {
                let cause = access(&interpreter, AccessFlags::X_OK).err().unwrap_or(errno);
                format!(
                    "its first line names the interpreter {}, and {}",
                    interpreter.display(),
                    explain_access(&interpreter, cause)
                )
            }
            (Errno::ENOEXEC, None) => {
                "it is neither a binary of this machine nor does it begin with #!".to_owned()
            }
            (errno, _) => errno.to_string(),
        };
        Error::ExecFailed { path: self.path.clone(), reason }
    }
}

/// Where the server's file is: in the policy's directory, or beside our own binary.
#[must_use]
pub fn choose_directory(policy: &Policy) -> PathBuf {
    let own = fs::read_link("/proc/self/exe").unwrap_or_default();
    let beside = own.parent().unwrap_or(Path::new("/"));
    policy.server.directory.as_deref().unwrap_or(beside).to_owned()
}

/// Says what keeps this process from executing a file.
fn explain_access(path: &Path, errno: Errno) -> String {
    match (errno, find_closed_directory(path)) {
        (Errno::EACCES, Some(directory)) => format!(
            "the directory {0} is closed to this account; give others the right to pass \
             (chmod o+x {0}), or install to a place that all may reach",
            directory.display()
        ),
        (Errno::EACCES, None) => format!(
            "this account lacks the permission to execute it (chmod o+rx {}); a file system that \
             is mounted noexec refuses it, too",
            path.display()
        ),
        (Errno::ENOENT, _) if path.is_symlink() => {
            format!("{} is a symbolic link to nothing", path.display())
        }
        (Errno::ENOENT, _) => format!("{} does not exist", path.display()),
        (errno, _) => errno.to_string(),
    }
}

/// The first directory on the way to a file that this process may not pass. Links are followed: the most
/// common mistake is a shared environment whose Python is below /root.
pub fn find_closed_directory(path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    // The number of links that the kernel follows, path_resolution(7).
    for _ in 0..40 {
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        let closed = above
            .into_iter()
            .rev()
            .find(|directory| access(*directory, AccessFlags::X_OK) == Err(Errno::EACCES));
        if let Some(directory) = closed {
            return Some(directory.to_owned());
        }
        path = path.parent()?.join(fs::read_link(&path).ok()?);
    }
    None
}
