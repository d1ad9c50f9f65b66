//! The server executables, as the account sees them that is to execute them.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::finding::{Area, Finding};
use super::remedy::{find_mount_with, mend_as_owner, quote, restore_trust, run_as_owner};
use crate::policy::Mode;
use crate::policy::authority::PATH;
use crate::server::{SIBLINGS, find_closed_directory};
use crate::trusted_file::program::{open_trusted_program, read_interpreter};
use crate::trusted_file::{Distrust, open_trusted};

/// Looks at each candidate in the directory; `account` is the name of this process's account.
pub fn look(directory: &Path, mode: Mode, is_named: bool, account: &str) -> Vec<Finding> {
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
        let remedy = install_server(directory);
        return vec![Finding::problem(Area::Server, "server_missing", sentence, remedy)];
    }
    let mut findings = Vec::new();
    for path in paths {
        findings.extend(judge_trust(&path, mode, is_named));
        findings.push(look_at_execution(&path, account));
    }
    findings
}

/// Check 2 of docs/security.md, of the server's file.
fn judge_trust(path: &Path, mode: Mode, is_named: bool) -> Option<Finding> {
    let distrust = match open_trusted_program(path) {
        // A file that this account cannot open is the next question.
        Ok(_) | Err(Distrust::Closed(..)) => return None,
        Err(distrust) => distrust,
    };
    let code = "server_untrusted";
    match restore_trust(&distrust) {
        Some(remedy) if mode == Mode::Root || is_named => {
            let sentence = format!("no server is started: {distrust}");
            Some(Finding::problem(Area::Server, code, sentence, remedy))
        }
        remedy => {
            let sentence =
                format!("whoever can write the server's file can be any user: {distrust}");
            Some(Finding::warning(Area::Server, code, sentence, remedy))
        }
    }
}

fn look_at_execution(path: &Path, account: &str) -> Finding {
    let shown = path.display();
    let problem = |sentence, remedy| {
        Finding::problem(Area::Server, "server_not_executable", sentence, remedy)
    };
    if let Err(errno) = access(path, AccessFlags::X_OK) {
        let (reason, remedy) = explain_access(path, errno);
        return problem(format!("{account} cannot execute {shown}: {reason}"), remedy);
    }
    let script = fs::File::open(path).ok();
    let Some(interpreter) = script.and_then(|script| read_interpreter(&script)) else {
        return judge_binary(path, account);
    };
    let code = "interpreter";
    if let Err(errno) = access(&interpreter, AccessFlags::X_OK) {
        let (reason, remedy) = match errno {
            Errno::ENOENT => explain_missing_interpreter(path, &interpreter),
            errno => explain_access(&interpreter, errno),
        };
        let sentence = format!(
            "{account} cannot execute {shown}: its first line names {}, and {reason}",
            interpreter.display()
        );
        return Finding::problem(Area::Server, code, sentence, remedy);
    }
    let sentence = format!("{account} can execute {shown} and {}", interpreter.display());
    Finding::ok(Area::Server, "server_not_executable", sentence)
}

fn judge_binary(path: &Path, account: &str) -> Finding {
    let mut head = [0; 4];
    let is_read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok();
    let shown = path.display();
    if is_read && &head != b"\x7fELF" {
        let sentence = format!("{shown} is neither a program of this machine nor begins with #!");
        let remedy = mend_as_owner(path, &format!("sed -i '1i #!/bin/sh' {}", quote(path)));
        return Finding::problem(Area::Server, "interpreter", sentence, remedy);
    }
    let sentence = format!("{account} can execute {shown}");
    Finding::ok(Area::Server, "server_not_executable", sentence)
}

/// Why a file cannot be executed by this process, and what mends it.
fn explain_access(path: &Path, errno: Errno) -> (String, String) {
    if let Some(directory) = find_closed_directory(path) {
        let shown = directory.display();
        let sentence = format!("the directory {shown} is closed to it");
        return (sentence, mend_as_owner(&directory, &format!("chmod o+x {}", quote(&directory))));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let lacks_bit = fs::metadata(&real).is_ok_and(|file| file.mode() & 0o001 == 0);
    if let (false, Some(place)) = (lacks_bit, find_mount_with(&mounts, &real, "noexec")) {
        let sentence = format!("{} is mounted with noexec", place.display());
        return (sentence, format!("mount -o remount,bind,exec {}", quote(&place)));
    }
    (errno.desc().to_owned(), mend_as_owner(&real, &format!("chmod a+rx {}", quote(&real))))
}

/// What gives a directory its servers: JupyterHub anew, where it belongs to a virtual environment; else
/// the policy names the environment in which they are.
fn install_server(directory: &Path) -> String {
    let environment = directory.parent().unwrap_or(Path::new("/"));
    if environment.join("pyvenv.cfg").exists() {
        return install_jupyterhub(environment);
    }
    let Some(servers) = find_servers() else {
        return format!(
            "/usr/bin/python3 -m venv {USUAL} && {USUAL}/bin/pip install jupyterhub jupyterlab"
        );
    };
    let line = quote(format!("/^\\[server\\]/a directory = \"{}\"", servers.display()));
    format!(
        "mkdir -p /etc/sudospawner && touch {PATH} && {{ grep -q '^\\[server\\]' {PATH} || \
         printf '\\n[server]\\n' >>{PATH}; }} && \
         sed -i -e '/^ *directory *=/d' -e {line} {PATH}"
    )
}

/// Where a Hub's environment is, if it is nowhere.
const USUAL: &str = "/opt/jupyterhub";

/// The first directory on the PATH, or the usual one, that has a server that root alone can change.
fn find_servers() -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let directories = path.split(':').map(PathBuf::from).chain([Path::new(USUAL).join("bin")]);
    let has_server = |directory: &PathBuf| {
        SIBLINGS.iter().any(|name| open_trusted(&directory.join(name)).is_ok())
    };
    directories.into_iter().find(has_server)
}

/// Installs JupyterHub into an environment anew, by the environment's own Python, or gives it one. Whoever
/// can change either of them, or the modules, is who does it.
fn install_jupyterhub(environment: &Path) -> String {
    let python = environment.join("bin/python3");
    let (lib, pip) = (environment.join("lib"), environment.join("bin/pip"));
    if !pip.exists() || !python.exists() {
        let command = format!("/usr/bin/python3 -m venv {}", quote(environment));
        return mend_as_owner(environment, &command);
    }
    let install = "-m pip install --force-reinstall --no-deps jupyterhub";
    let command = format!("{} {install}", quote(&python));
    run_as_owner(&[&python, &lib], &command).unwrap_or_else(|| mend_as_owner(&lib, &command))
}

/// An environment whose Python has gone: most often the machine's Python is another by now.
fn explain_missing_interpreter(path: &Path, interpreter: &Path) -> (String, String) {
    let environment = path.ancestors().nth(2).unwrap_or(Path::new("/"));
    let remedy = if interpreter.starts_with(environment) {
        let (link, shown) = (quote(interpreter), quote(environment));
        let upgrade =
            format!("rm -f {link} && /usr/bin/python3 -m venv --upgrade --without-pip {shown}");
        mend_as_owner(path, &upgrade)
    } else {
        install_server(path.parent().unwrap_or(Path::new("/")))
    };
    (format!("{} does not exist", interpreter.display()), remedy)
}
