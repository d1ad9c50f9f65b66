//! systemd-run(1) or systemctl(1), with words of our own and an environment of our own.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use nix::unistd::{chdir, execve};

use super::Refusal;
use super::options::Run;
use ground::system_calls::{self, afresh};
use root::account::Account;
use root::unit_properties::Property;

/// Where the two programs are.
const DIRECTORY: &str = "/usr/bin";
/// All that they are given of an environment.
const ENVIRONMENT: [&str; 2] =
    ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"];

/// The command that starts a unit.
#[must_use]
pub fn write_command(run: &Run, target: &Account, properties: &[Property]) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![
        "systemd-run".into(),
        format!("--unit={}", run.unit.as_str()).into(),
        format!("--uid={}", target.uid).into(),
        format!("--gid={}", target.gid).into(),
        "--working-directory".into(),
        run.working_directory.clone().into(),
    ];
    words
        .extend(properties.iter().map(|(name, value)| format!("--property={name}={value}").into()));
    words.push("--".into());
    words.push(run.program.clone().into());
    words.extend(run.args.iter().cloned());
    words
}

/// Becomes the program that the first word names; returns only if that is refused.
pub fn execute(words: &[OsString]) -> Refusal {
    let name = words.first().cloned().unwrap_or_default();
    let program = Path::new(DIRECTORY).join(&name);
    let to_word = |word: OsString| CString::new(word.into_vec());
    let argv: Result<Vec<_>, _> = words.iter().cloned().map(to_word).collect();
    let environment = ENVIRONMENT.map(|variable| CString::new(variable).unwrap_or_default());
    let (Ok(argv), Ok(path)) = (argv, to_word(program.clone().into())) else {
        return "a word has a NUL byte".to_owned().into();
    };
    // A directory that is not the caller's.
    let _ = chdir("/");
    system_calls::reset_signals();
    // The caller's limits would end that program in the middle; the unit has none of them.
    afresh::settle();
    match execve(&path, &argv, &environment) {
        Err(errno) => format!("{} could not be executed: {errno}", program.display()).into(),
    }
}
