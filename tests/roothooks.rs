//! `jupyterhub-roothooks` as a container starts it that has no root: no hook runs, and the command does.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// A uid that belongs to nobody, for where the tests are run by root.
const STRANGER: u32 = 54321;
/// `nobody`, an account of every system.
const NOBODY: u32 = 65534;

/// The binary in a directory of its own, removed at the end.
struct Installed {
    directory: tempfile::TempDir,
}

impl Installed {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).unwrap();
        let installed = Self { directory };
        std::fs::copy(env!("CARGO_BIN_EXE_jupyterhub-roothooks"), installed.path()).unwrap();
        installed
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("jupyterhub-roothooks")
    }

    fn start_as(&self, uid: u32, words: &[&str], adjust: impl FnOnce(&mut Command)) -> Child {
        let mut command = Command::new(self.path());
        if geteuid().is_root() {
            command.uid(uid).gid(uid);
        }
        command.env_clear().env("PATH", "/usr/bin:/bin").args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        adjust(&mut command);
        // While another test forks, its child holds for a moment the copy that we have just
        // written, and a file that is open for writing cannot be executed.
        loop {
            match command.spawn() {
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {}
                spawned => return spawned.unwrap(),
            }
        }
    }

    fn run(&self, words: &[&str]) -> Output {
        self.start_as(STRANGER, words, |_| {}).wait_with_output().unwrap()
    }
}

/// The uid that the binary runs as in these tests.
fn own_uid() -> u32 {
    if geteuid().is_root() { STRANGER } else { geteuid().as_raw() }
}

/// Runs a command as ourselves, with options before it.
fn run_command(options: &[&str], command: &[&str]) -> Output {
    let uid = format!("--uid={}", own_uid());
    Installed::new().run(&[&[uid.as_str()], options, &["--"], command].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a refusal says, once it is clear that the command was not started.
fn assert_refused(output: &Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
    text(&output.stderr)
}

#[test]
fn the_exit_status_is_that_of_the_command() {
    assert_eq!(run_command(&[], &["sh", "-c", "exit 3"]).status.code(), Some(3));
    assert_eq!(run_command(&[], &["sh", "-c", "kill -9 $$"]).status.signal(), Some(9));
}

#[test]
fn the_command_keeps_pid_directory_arguments_and_variables() {
    let installed = Installed::new();
    let uid = format!("--uid={}", own_uid());
    let script = "echo $$; pwd; printf '<%s>' \"$@\"; echo; env";
    let words = [&uid, "--", "sh", "-c", script, "sh", "a b", "", "--uid=7", "ü"];
    let child = installed.start_as(STRANGER, &words, |command| {
        command.current_dir("/usr").env("ODD", "a=b\nc").env("REPO_DIR", "/srv/repo");
    });
    let pid = child.id().to_string();
    let output = child.wait_with_output().unwrap();
    let shown = text(&output.stdout);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[..3], [pid.as_str(), "/usr", "<a b><><--uid=7><ü>"]);
    assert!(shown.contains("ODD=a=b\nc\n") && shown.contains("REPO_DIR=/srv/repo\n"), "{shown}");
}

#[test]
fn the_command_has_the_groups_that_are_named_and_none_of_roots() {
    if !geteuid().is_root() {
        return;
    }
    let words = ["--uid=61234", "--gid=61235", "--groups=100,2000", "--", "/usr/bin/id", "-G"];
    let child = Installed::new().start_as(0, &words, |_| {});
    let shown = text(&child.wait_with_output().unwrap().stdout);
    assert_eq!(shown, "61235 100 2000\n");
}

#[test]
fn without_root_a_group_that_the_process_lacks_is_refused() {
    let words = [&format!("--uid={STRANGER}"), "--groups=61236", "--", "true"];
    let child = Installed::new().start_as(STRANGER, &words, |_| {});
    let said = assert_refused(&child.wait_with_output().unwrap(), 1);
    assert!(said.contains("group 61236 cannot be taken"), "{said}");
}

#[test]
fn a_uid_without_an_account_gets_no_variable_more() {
    if !geteuid().is_root() {
        return;
    }
    let shown = text(&run_command(&[], &["/usr/bin/env"]).stdout);
    assert_eq!(shown, "PATH=/usr/bin:/bin\n");
}

#[test]
fn a_uid_with_an_account_gets_its_names() {
    if !geteuid().is_root() {
        return;
    }
    let words = [&format!("--uid={NOBODY}"), "--", "/usr/bin/env"];
    let child = Installed::new().start_as(NOBODY, &words, |command| {
        command.env("HOME", "/root").env("SHELL", "/bin/bash");
    });
    let shown = text(&child.wait_with_output().unwrap().stdout);
    let variables: BTreeMap<_, _> =
        shown.lines().map(|line| line.split_once('=').unwrap()).collect();
    assert_eq!(variables["USER"], "nobody");
    assert_eq!(variables["LOGNAME"], "nobody");
    assert_eq!(variables["HOME"], "/nonexistent");
    // Its shell is nologin, with which no terminal would open.
    assert_eq!(variables["SHELL"], "/bin/bash");
}

#[test]
fn without_root_no_hook_is_run_and_the_log_says_so() {
    let hooks = tempfile::tempdir().unwrap();
    let hook = hooks.path().join("01-hook");
    std::fs::write(&hook, "#!/bin/sh\necho hook\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let option = format!("--hooks-dir={}", hooks.path().display());
    let output = run_command(&[&option, "--trust-hooks-dir"], &["echo", "command"]);
    assert_eq!(text(&output.stdout), "command\n");
    assert!(text(&output.stderr).contains("no hook is run"), "{}", text(&output.stderr));
}

#[test]
fn one_account_cannot_become_another() {
    let other = format!("--uid={}", own_uid() + 1);
    let output = Installed::new().run(&[&other, "--", "echo", "started"]);
    assert!(assert_refused(&output, 1).contains("runAsUser: 0"));
}

#[test]
fn what_is_wrong_with_the_command_line_is_said_before_anything_is_started() {
    let installed = Installed::new();
    for words in [
        &["--uid=0", "--", "echo", "started"][..],
        &["--gid=4294967295", "--", "echo", "started"],
        &["--unknown=1", "--", "echo", "started"],
        &["echo", "started"],
        &["--uid=1000"],
    ] {
        let complaint = assert_refused(&installed.run(words), 1);
        assert!(complaint.contains("--help"), "{words:?}: {complaint}");
    }
    let child = installed.start_as(STRANGER, &["--", "echo", "started"], |command| {
        command.env("NB_UID", "0");
    });
    assert!(assert_refused(&child.wait_with_output().unwrap(), 1).contains("NB_UID"));
}

#[test]
fn a_command_that_cannot_be_executed_ends_as_in_a_shell() {
    for stay in [&[][..], &["--init"]] {
        let missing = assert_refused(&run_command(stay, &["no-such-command"]), 127);
        assert!(missing.contains("no-such-command"), "{missing}");
        assert_refused(&run_command(stay, &["/etc/passwd"]), 126);
    }
}

#[test]
fn help_and_version_are_on_stdout() {
    let installed = Installed::new();
    let help = installed.run(&["--help"]);
    assert!(text(&help.stdout).starts_with("Usage: jupyterhub-roothooks"));
    assert_eq!(help.status.code(), Some(0));
    let version = installed.run(&["--version"]);
    assert_eq!(text(&version.stdout), concat!(env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_command_gains_no_privileges_unless_it_is_allowed_to() {
    let shown = |options: &[&str]| {
        let output = run_command(options, &["grep", "NoNewPrivs", "/proc/self/status"]);
        text(&output.stdout).split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!(shown(&[]), "1");
    assert_eq!(shown(&["--allow-new-privileges"]), "0");
}

#[test]
fn the_log_level_says_what_is_logged() {
    assert_ne!(text(&run_command(&["--log-level=30"], &["true"]).stderr), "");
    assert_eq!(text(&run_command(&["--log-level=ERROR"], &["true"]).stderr), "");
}

#[test]
fn an_init_exits_as_its_command_does() {
    assert_eq!(run_command(&["--init"], &["sh", "-c", "exit 3"]).status.code(), Some(3));
    assert_eq!(run_command(&["--init"], &["sh", "-c", "kill -9 $$"]).status.code(), Some(137));
}

#[test]
fn an_init_passes_every_signal_on() {
    let uid = format!("--uid={}", own_uid());
    for (signal, name) in [
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGQUIT, "QUIT"),
    ] {
        let script = format!(
            "trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 0.1; done"
        );
        let words = [&uid, "--init", "--", "sh", "-c", &script];
        let mut child = Installed::new().start_as(STRANGER, &words, |_| {});
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7), "{name}: {rest}");
        assert_eq!(rest, format!("got {name}\n"));
    }
}

#[test]
fn an_init_reaps_what_its_command_left_to_it() {
    // The orphan outlives its parent, becomes the init's child, and ends; then it is gone from /proc
    // while the command still runs.
    let script = "sh -c 'read x <orphan & echo $! >pid'; orphan=$(cat pid); \
                  echo >orphan; while [ -e /proc/$orphan ]; do read x <tick; done; \
                  grep PPid /proc/$$/status";
    let directory = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(directory.path(), open).unwrap();
    for name in ["orphan", "tick"] {
        let path = directory.path().join(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    }
    let uid = format!("--uid={}", own_uid());
    let words = [&uid, "--init", "--", "sh", "-c", script];
    let mut child = Installed::new().start_as(STRANGER, &words, |command| {
        command.current_dir(directory.path());
    });
    let init = child.id();
    let tick = directory.path().join("tick");
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        // One look of the script's at /proc for each line; without a reader there is none to write.
        let flags = nix::fcntl::OFlag::O_WRONLY | nix::fcntl::OFlag::O_NONBLOCK;
        if let Ok(end) = nix::fcntl::open(&tick, flags, nix::sys::stat::Mode::empty()) {
            let _ = nix::unistd::write(&end, b"\n");
        }
        std::thread::yield_now();
    };
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert!(status.success());
    assert_eq!(shown, format!("PPid:\t{init}\n"));
}

#[test]
fn the_document_and_the_help_have_the_same_options() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kubernetes.md");
    let document = std::fs::read_to_string(path).unwrap();
    let help = text(&Installed::new().run(&["--help"]).stdout);
    let in_help: BTreeSet<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  --")?.split([' ', ',']).next())
        .filter(|option| *option != "help")
        .collect();
    let in_document: BTreeSet<&str> =
        document.lines().filter_map(|line| line.strip_prefix("| `--")?.split('`').next()).collect();
    assert_eq!(in_document, in_help);
    assert_eq!(in_help.len(), 9);
}
