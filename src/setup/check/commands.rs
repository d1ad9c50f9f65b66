//! Asks programs of this machine: sudo and systemctl. Each is started by an absolute path and with an
//! environment of our own, so that the caller of `check` chooses neither.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::apart::{Silence, run_apart};
use super::viewpoint::{LIMIT, become_if_root, look_apart};
use root::account::Account;

/// Where to look for programs.
const DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// How long sudo may take. It asks PAM, and perhaps a directory service, about each account.
const LIMIT_OF_SUDO: Duration = Duration::from_secs(20);

/// What a program said.
#[derive(Debug)]
pub struct Answer {
    /// Whether it exited with status 0.
    pub success: bool,
    /// What it wrote to stdout.
    pub output: String,
    /// What it wrote to stderr.
    pub complaint: String,
}

/// The path of a program of this machine; `None` if there is no such program.
pub fn find_program(name: &str) -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}

/// Runs a program with these arguments, and waits for it.
///
/// # Errors
/// A sentence if it does not exist or does not end in time.
pub fn ask(program: &str, words: &[&str]) -> Result<Answer, Silence> {
    ask_as(None, program, words, "")
}

/// The same with this stdin. If root asks, the program runs as this account.
///
/// # Errors
/// Those of [`ask`].
#[allow(clippy::disallowed_methods)]
pub fn ask_as(
    account: Option<&Account>,
    program: &str,
    words: &[&str],
    input: &str,
) -> Result<Answer, Silence> {
    let who = format!("what looks for {program}");
    let path = look_apart(&who, LIMIT, || Some(find_program(program)))?;
    let path = path.ok_or_else(|| Silence(format!("{program} is not installed")))?;
    let limit = if program == "sudo" { LIMIT_OF_SUDO } else { LIMIT };
    let said = run_apart(program, limit, input.as_bytes(), |ends| {
        if account.is_some_and(|account| become_if_root(account).is_err()) {
            return false;
        }
        let mut command = Command::new(path);
        command
            .args(words)
            .env_clear()
            .env("PATH", DIRECTORIES.join(":"))
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(ends.input)
            .stdout(ends.output)
            .stderr(ends.complaint);
        // Returns only if the program cannot be executed.
        let _ = command.exec();
        false
    })?;
    Ok(Answer {
        success: said.success,
        output: String::from_utf8_lossy(&said.output).into_owned(),
        complaint: String::from_utf8_lossy(&said.complaint).into_owned(),
    })
}
