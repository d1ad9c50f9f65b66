//! The programs of this machine that are asked: sudo and systemctl. They are started by an absolute path
//! and with an environment of ours, so that whoever calls `check` chooses neither.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where programs of the machine are looked for.
const DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

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

/// The path of a program of this machine; `None` if there is none of this name.
pub fn find_program(name: &str) -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}

/// Runs a program with these words and this stdin, and waits for it; `None` if it is not there or cannot
/// be executed.
#[allow(clippy::disallowed_methods)]
pub fn ask(program: &str, words: &[&str], input: &str) -> Option<Answer> {
    let mut command = Command::new(find_program(program)?);
    command
        .args(words)
        .env_clear()
        .env("PATH", DIRECTORIES.join(":"))
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    // A program that refuses does not read.
    let _ = child.stdin.take()?.write_all(input.as_bytes());
    let output = child.wait_with_output().ok()?;
    Some(Answer {
        success: output.status.success(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
