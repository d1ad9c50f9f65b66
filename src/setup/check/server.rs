//! The server executables, as seen by the account that has to execute them.

use ground::mounts::find_mount_with;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::hearsay::Told;
use ground::script::read_interpreter_of;
use root::trusted_file::Distrust;
use root::trusted_file::program::open_trusted_program;
use target::mode::Mode;
use target::server::{SIBLINGS, find_closed_directory};

/// Looks at each candidate in the directory; `account` is the name of this process's account.
pub fn look(directory: &Path, mode: Mode, is_named: bool, account: &str) -> Vec<Told> {
    let is_there = |path: &PathBuf| {
        !fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    let paths: Vec<PathBuf> =
        SIBLINGS.iter().map(|name| directory.join(name)).filter(is_there).collect();
    if paths.is_empty() {
        let sentence = format!(
            "neither {} is in {}: no server can be started",
            SIBLINGS.join(" nor "),
            directory.display()
        );
        return vec![Told::problem("server_missing", sentence)];
    }
    let mut told = Vec::new();
    for path in paths {
        told.extend(judge_trust(&path, mode, is_named));
        told.push(look_at_execution(&path, account));
    }
    told
}

/// Check 2 of docs/security.md, applied to the server's file.
fn judge_trust(path: &Path, mode: Mode, is_named: bool) -> Option<Told> {
    let distrust = match open_trusted_program(path) {
        // If this account cannot open the file, another check reports it.
        Ok(_) | Err(Distrust::Closed(..)) => return None,
        Err(distrust) => distrust,
    };
    let code = "server_untrusted";
    Some(if mode == Mode::Root || is_named {
        Told::problem(code, format!("no server is started: {distrust}"))
    } else {
        Told::warning(
            code,
            format!("whoever can write the server's file can be any user: {distrust}"),
        )
    })
}

fn look_at_execution(path: &Path, account: &str) -> Told {
    let shown = path.display();
    if let Err(errno) = access(path, AccessFlags::X_OK) {
        let reason = explain_access(path, errno);
        let sentence = format!("{account} cannot execute {shown}: {reason}");
        return Told::problem("server_not_executable", sentence);
    }
    let Some(interpreter) = read_interpreter_of(path) else {
        return judge_binary(path, account);
    };
    if let Err(errno) = access(&interpreter, AccessFlags::X_OK) {
        let reason = match errno {
            Errno::ENOENT => format!("{} does not exist", interpreter.display()),
            errno => explain_access(&interpreter, errno),
        };
        let named = interpreter.display();
        let sentence =
            format!("{account} cannot execute {shown}: its first line names {named}, and {reason}");
        return Told::problem("interpreter", sentence);
    }
    let sentence = format!("{account} can execute {shown} and {}", interpreter.display());
    Told::ok("server_not_executable", sentence)
}

fn judge_binary(path: &Path, account: &str) -> Told {
    let mut head = [0; 4];
    let is_read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok();
    let shown = path.display();
    if is_read && &head != b"\x7fELF" {
        let sentence = format!("{shown} is neither a program of this machine nor begins with #!");
        return Told::problem("interpreter", sentence);
    }
    Told::ok("server_not_executable", format!("{account} can execute {shown}"))
}

/// Why this process cannot execute a file.
fn explain_access(path: &Path, errno: Errno) -> String {
    if let Some(directory) = find_closed_directory(path) {
        return format!("the directory {} is closed to it", directory.display());
    }
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let lacks_bit = fs::metadata(&real).is_ok_and(|file| file.mode() & 0o001 == 0);
    match find_mount_with(&real, "noexec").filter(|_| !lacks_bit) {
        Some(place) => format!("{} is mounted with noexec", place.display()),
        None => errno.desc().to_owned(),
    }
}
