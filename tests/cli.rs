//! The binary as its callers see it: exit status, stdout, and nothing done on bad input.
//!
//! Run by root the binary would refuse everything, so then it runs as `nobody`, from a directory
//! that everyone may enter. What needs real accounts and servers is in `tests/system/`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The mediator and the program of its subcommands in a directory of its own, removed at the end.
struct Installed {
    directory: tempfile::TempDir,
}

impl Installed {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).unwrap();
        // Another program copies: while another test forks, its child would hold for a moment what this
        // process has open, and a file that is open for writing cannot be executed.
        let copied = Command::new("cp")
            .args([env!("CARGO_BIN_EXE_sudospawner"), env!("CARGO_BIN_EXE_sudospawner-setup")])
            .arg(directory.path())
            .status();
        assert!(copied.unwrap().success());
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("sudospawner")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.path());
        if nix::unistd::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        command.env_clear();
        command
    }

    fn call(&self, request: &[u8], adjust: impl FnOnce(&mut Command)) -> Output {
        let mut command = self.command();
        adjust(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A mediator that refuses early does not read to the end.
        let _ = child.stdin.take().unwrap().write_all(request);
        child.wait_with_output().unwrap()
    }

    fn ask(&self, request: &[u8]) -> (Value, i32) {
        read_reply(&self.call(request, |_| {}))
    }
}

/// The one line on stdout, and the exit status.
fn read_reply(output: &Output) -> (Value, i32) {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text:?}");
    assert!(text.ends_with('\n'));
    (serde_json::from_str(text).unwrap(), output.status.code().unwrap())
}

fn assert_refused(request: &[u8], code: &str) -> String {
    let (reply, status) = Installed::new().ask(request);
    let shown = String::from_utf8_lossy(request.get(..200).unwrap_or(request)).into_owned();
    assert_eq!(reply["ok"], false, "{shown}");
    assert_eq!(reply["code"], code, "{shown}: {reply}");
    assert_eq!(status, 1, "{shown}");
    reply["error"].as_str().unwrap().to_owned()
}

#[test]
fn a_process_that_does_not_exist_is_not_alive() {
    let output = Installed::new().call(br#"{"action":"kill","pid":999999999,"signal":0}"#, |_| {});
    assert_eq!(output.stdout, b"{\"ok\":true,\"alive\":false}\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_is_not_one_json_object_is_malformed() {
    for request in [
        &b""[..],
        b" ",
        b"null",
        b"[]",
        b"{",
        br#"{"action":"kill","pid":1,"signal":0} {}"#,
        br#""spawn""#,
        b"\xff\xfe",
        b"{\"action\":\"kill\",\"pid\":1,\"signal\":0,\"server_name\":\"\xff\"}",
        br#"{'action':'kill'}"#,
    ] {
        assert_refused(request, "malformed_request");
    }
}

#[test]
fn nesting_without_end_is_malformed_and_not_a_crash() {
    let deep = |open: &str| format!("{{\"action\":{}", open.repeat(100_000));
    assert_refused(deep("[").as_bytes(), "malformed_request");
    assert_refused(deep("{\"a\":").as_bytes(), "malformed_request");
}

#[test]
fn unknown_and_repeated_keys_are_malformed() {
    for request in [
        r#"{"action":"kill","pid":1,"signal":0,"uid":0}"#,
        r#"{"action":"kill","pid":1,"signal":0,"pid":2}"#,
        r#"{"action":"kill","action":"stop","pid":1,"signal":0}"#,
        r#"{"action":"stop","pid":1,"signal":9}"#,
        r#"{"action":"spawn","args":[],"env":{"A":"1","A":"2"}}"#,
        r#"{"action":"spawn","args":[],"env":{},"cmd":"/bin/sh"}"#,
        r#"{"action":"spawn","args":[],"env":{},"wait":{"port":1,"seconds":1,"uid":0}}"#,
    ] {
        assert_refused(request.as_bytes(), "malformed_request");
    }
}

#[test]
fn wrong_types_and_values_outside_their_bounds_are_malformed() {
    for request in [
        r#"{"action":"run"}"#,
        r#"{"action":1}"#,
        r#"{"pid":1,"signal":0}"#,
        r#"{"action":"kill","pid":"1","signal":0}"#,
        r#"{"action":"kill","pid":0,"signal":0}"#,
        r#"{"action":"kill","pid":-1,"signal":9}"#,
        r#"{"action":"kill","pid":2147483648,"signal":0}"#,
        r#"{"action":"kill","pid":1.5,"signal":0}"#,
        r#"{"action":"kill","pid":1}"#,
        r#"{"action":"kill","pid":1,"signal":null}"#,
        r#"{"action":"kill","pid":1,"signal":0,"started":"yesterday"}"#,
        r#"{"action":"kill","pid":1,"signal":0,"started":""}"#,
        r#"{"action":"stop","pid":1,"term_seconds":-1}"#,
        r#"{"action":"stop","pid":1,"term_seconds":3601}"#,
        r#"{"action":"stop","pid":1,"term_seconds":1e999}"#,
        r#"{"action":"stop","pid":1,"kill_seconds":"5"}"#,
        r#"{"action":"spawn","args":"x","env":{}}"#,
        r#"{"action":"spawn","args":[1],"env":{}}"#,
        r#"{"action":"spawn","args":[],"env":[]}"#,
        r#"{"action":"spawn","args":[],"env":{"A":1}}"#,
        r#"{"action":"spawn","args":[],"env":{},"events":"yes"}"#,
        r#"{"action":"spawn","args":[],"env":{},"wait":{"port":0,"seconds":1}}"#,
        r#"{"action":"spawn","args":[],"env":{},"wait":{"port":65536,"seconds":1}}"#,
        r#"{"action":"spawn","args":[],"env":{},"wait":{"port":1}}"#,
        r#"{"action":"status","pid":1,"server_name":"a\nb"}"#,
        r#"{"action":"spawn","args":[],"env":{},"files":["a"]}"#,
        r#"{"action":"spawn","args":[],"env":{},"files":{"a":1}}"#,
        r#"{"action":"spawn","args":[],"env":{},"files":{"":"x"}}"#,
        r#"{"action":"spawn","args":[],"env":{},"files":{"..":"x"}}"#,
        r#"{"action":"spawn","args":[],"env":{},"files":{".bashrc":"x"}}"#,
        r#"{"action":"spawn","args":[],"env":{},"files":{"../a":"x"}}"#,
        r#"{"action":"spawn","args":[],"env":{},"files":{"/a":"x"}}"#,
        r#"{"action":"stop","pid":1,"files":{"a":"x"}}"#,
    ] {
        assert_refused(request.as_bytes(), "malformed_request");
    }
    let many = vec!["\"x\""; 4097].join(",");
    let request = format!("{{\"action\":\"spawn\",\"args\":[{many}],\"env\":{{}}}}");
    assert_refused(request.as_bytes(), "malformed_request");
    let many: Vec<String> = (0..17).map(|number| format!("\"f{number}\":\"\"")).collect();
    for files in [many.join(","), format!("\"f\":\"{}\"", "x".repeat(64 * 1024 + 1))] {
        let request =
            format!("{{\"action\":\"spawn\",\"args\":[],\"env\":{{}},\"files\":{{{files}}}}}");
        assert_refused(request.as_bytes(), "malformed_request");
    }
}

#[test]
fn what_no_variable_and_no_argument_can_hold_is_malformed() {
    for request in [
        r#"{"action":"spawn","args":["a\u0000b"],"env":{}}"#,
        r#"{"action":"spawn","args":[],"env":{"A":"a\u0000b"}}"#,
        r#"{"action":"spawn","args":[],"env":{"A\u0000":"b"}}"#,
        r#"{"action":"spawn","args":[],"env":{"A=B":"c"}}"#,
        r#"{"action":"spawn","args":[],"env":{"":"c"}}"#,
        r#"{"action":"spawn","args":["\ud800"],"env":{}}"#,
    ] {
        assert_refused(request.as_bytes(), "malformed_request");
    }
}

#[test]
fn a_server_name_that_fits_no_file_name_is_too_long() {
    let request = |name: String| {
        format!("{{\"action\":\"status\",\"pid\":999999999,\"server_name\":\"{name}\"}}")
    };
    assert_refused(request("-".repeat(64)).as_bytes(), "server_name_too_long");
    assert_refused(request("a".repeat(239)).as_bytes(), "server_name_too_long");
    assert_refused(request("a".repeat(256)).as_bytes(), "malformed_request");
    let (reply, status) = Installed::new().ask(request("a".repeat(238)).as_bytes());
    assert_eq!((reply["ok"].as_bool(), status), (Some(true), 0));
}

#[test]
fn a_request_of_more_than_four_mebibytes_is_refused() {
    let padding = " ".repeat(4 * 1024 * 1024);
    assert_refused(format!("{{}}{padding}").as_bytes(), "request_too_large");
}

#[test]
fn a_value_that_may_be_a_token_is_never_repeated_in_a_sentence() {
    for request in [
        r#"{"action":"spawn","args":[],"env":"s3cr3t"}"#,
        r#"{"action":"spawn","args":[],"env":{"T":["s3cr3t"]}}"#,
        r#"{"action":"spawn","args":{"s":"s3cr3t"},"env":{}}"#,
        r#"{"action":"s3cr3t"}"#,
    ] {
        let output = Installed::new().call(request.as_bytes(), |_| {});
        let all = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&all).contains("s3cr3t"), "{request}");
    }
}

#[test]
fn options_that_are_unknown_or_write_files_are_refused_before_the_request_is_read() {
    for (option, code) in [
        ("--log-file-prefix=/tmp/x", "option_refused"),
        ("--log_file_prefix=/tmp/x", "option_refused"),
        ("--policy=/tmp/x", "usage"),
        ("--logging=loud", "usage"),
        ("stray", "usage"),
    ] {
        let output = Installed::new().call(b"", |command| {
            command.arg(option);
        });
        let (reply, status) = read_reply(&output);
        assert_eq!((reply["code"].as_str(), status), (Some(code), 1), "{option}");
    }
}

#[test]
fn help_and_version_are_for_people_and_succeed() {
    for (option, expected) in
        [("--help", "Usage: sudospawner"), ("--version", "sudospawner-rs "), ("-help", "Usage:")]
    {
        let output = Installed::new().call(b"", |command| {
            command.arg(option);
        });
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8(output.stdout).unwrap().starts_with(expected));
    }
}

#[test]
fn another_user_than_the_one_that_sudo_chose_is_refused() {
    let output = Installed::new().call(b"", |command| {
        command.arg("--user=somebody-else");
    });
    assert_eq!(read_reply(&output).0["code"], "target_mismatch");
}

#[test]
fn a_caller_that_cannot_be_told_is_refused() {
    for (name, value) in [
        ("SUDO_UID", "x"),
        ("SUDO_UID", ""),
        ("SUDO_UID", "-1"),
        ("DOAS_USER", "rhea"),
        ("PKEXEC_UID", "5"),
    ] {
        let output = Installed::new().call(b"{}", |command| {
            command.env(name, value);
        });
        let (reply, status) = read_reply(&output);
        assert_eq!((reply["code"].as_str(), status), (Some("caller_unknown"), 1), "{name}={value}");
    }
}

#[test]
fn the_environment_does_not_choose_what_is_logged() {
    let request = br#"{"action":"kill","pid":999999999,"signal":0}"#;
    let output = Installed::new().call(request, |command| {
        command.env("RUST_LOG", "trace").arg("--logging=none");
    });
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn without_a_server_beside_the_binary_the_reply_says_where_it_was_looked_for() {
    let installed = Installed::new();
    let (reply, status) = installed.ask(br#"{"action":"spawn","args":[],"env":{}}"#);
    assert_eq!((reply["code"].as_str(), status), (Some("server_missing"), 0));
    let directory = installed.directory.path().canonicalize().unwrap();
    assert!(reply["error"].as_str().unwrap().contains(directory.to_str().unwrap()), "{reply}");
}

#[test]
fn a_server_that_cannot_be_executed_is_not_passed_over_for_the_other() {
    let installed = Installed::new();
    std::fs::write(installed.directory.path().join("sudospawner-singleuser"), "#!/bin/sh").unwrap();
    let (reply, status) = installed.ask(br#"{"action":"spawn","args":[],"env":{}}"#);
    assert_eq!((reply["code"].as_str(), status), (Some("server_not_executable"), 0));
    assert!(reply["error"].as_str().unwrap().contains("chmod o+rx"), "{reply}");
}

fn run_subcommand(words: &[&str]) -> (i32, String, String) {
    let output = Installed::new().call(b"", |command| {
        command.args(words);
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_policy_that_is_printed_is_one_and_a_wrong_one_is_told_with_its_line() {
    let (status, example, _) = run_subcommand(&["policy"]);
    assert_eq!(status, 0);
    let folder = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let file = folder.path().join("policy.toml");
    std::fs::write(&file, &example).unwrap();
    let name = file.to_str().unwrap();
    let (status, output, warning) = run_subcommand(&["policy", "--check", name]);
    assert_eq!((status, output.as_str()), (0, format!("{name} is a policy\n").as_str()));
    assert!(warning.contains("it would not be trusted"), "{warning}");
    std::fs::write(&file, format!("{example}\nno_such_key = 1\n")).unwrap();
    let (status, output, error) = run_subcommand(&["policy", &format!("--check={name}")]);
    assert_eq!((status, output.as_str()), (1, ""));
    assert!(error.contains("no_such_key") && error.contains("line "), "{error}");
}

#[test]
fn subcommands_refuse_what_they_do_not_know_and_names_that_sudo_would_misread() {
    for words in [
        &["check", "--policy=/tmp/p"][..],
        &["check", "zoe"],
        &["check", "--user=#0"],
        &["policy", "--check"],
        &["policy", "example"],
        &["sudoers"],
        &["sudoers", "--hub-user=rhea"],
        &["sudoers", "--hub-user=rhea", "--group=g", "--users=zoe"],
        &["sudoers", "--hub-user=rhea", "--users=zoe,+all"],
        &["sudoers", "--hub-user=rhea", "--group=%wheel"],
        &["sudoers", "--hub-user=root", "--group=g"],
        &["sudoers", "--hub-user=rhea", "--mode=root", "--users=zoe"],
    ] {
        let (status, output, error) = run_subcommand(words);
        assert_eq!((status, output.as_str()), (2, ""), "{words:?}");
        assert!(error.starts_with("[E sudospawner] "), "{words:?}: {error}");
    }
}

#[test]
fn each_subcommand_has_its_own_help() {
    for name in ["check", "sudoers", "policy", "socket"] {
        let (status, output, _) = run_subcommand(&[name, "--help"]);
        assert_eq!(status, 0);
        assert!(output.starts_with(&format!("Usage: sudospawner {name}")));
        assert!(output.lines().all(|line| line.len() < 96));
    }
}
