//! What bash offers for the command line of `sudospawner`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod help;

use std::collections::BTreeSet;
use std::process::Command;

use help::offered_options;

/// What is offered for the last of the words, which are split as bash splits them: `=` is one.
fn complete(words: &[&str]) -> BTreeSet<String> {
    let script = "source completions/sudospawner && COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) && \
                  _sudospawner && printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut command = Command::new("bash");
    command.args(["-ec", script, "bash", "sudospawner"]).args(words);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(ToOwned::to_owned).collect()
}

#[test]
fn every_option_of_help_is_offered_and_no_other() {
    let offered_by = |name: &str| {
        let path = format!("{}/src/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        offered_options(&std::fs::read_to_string(path).unwrap())
    };
    assert_eq!(complete(&["--"]), offered_by("target/help"));
    for name in ["check", "sudoers", "policy", "socket", "profiles", "jobs"] {
        assert_eq!(complete(&[name, "--"]), offered_by(&format!("setup/help/{name}")), "{name}");
    }
}

#[test]
fn subcommands_are_offered_as_the_first_word() {
    let offered = complete(&["che"]);
    assert_eq!(offered, BTreeSet::from(["check".to_owned()]));
    assert_eq!(complete(&["check", "che"]), BTreeSet::new());
}

#[test]
fn values_are_offered_after_a_blank_and_after_an_equals_sign() {
    let modes = BTreeSet::from(["root".to_owned(), "user".to_owned()]);
    assert_eq!(complete(&["sudoers", "--mode", ""]), modes);
    assert_eq!(complete(&["sudoers", "--mode", "="]), modes);
    assert!(complete(&["check", "--mode", ""]).contains("socket"));
    assert_eq!(complete(&["sudoers", "--mode", "=", "u"]), BTreeSet::from(["user".to_owned()]));
    assert!(complete(&["check", "--user", "=", "ro"]).contains("root"));
    assert!(complete(&["sudoers", "--users", "=", "root,dae"]).contains("root,daemon"));
    assert!(complete(&["--logging", "=", "info", "--us"]).contains("--user"));
    assert!(complete(&["policy", "--check", "Cargo.t"]).contains("Cargo.toml"));
}
