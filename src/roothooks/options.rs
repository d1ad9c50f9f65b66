//! The command line, in the notation of the Python tool (traitlets), and the variables that replace options.

mod values;
mod words;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use log::LevelFilter;
use nix::unistd::{Gid, Uid};

use super::hooks::{ContainerHooks, Trust};
use crate::failure::{Failure, usage};
use crate::ids::Escalation;
use values::{parse_groups, parse_level, parse_own_id, parse_timeout};
use words::{Words, set_once};

/// The text of `--help`.
pub const HELP: &str = include_str!("help.txt");

/// The default directory of hooks.
const DIRECTORY: &str = "/etc/roothooks.d";
/// The default time limit for a hook, in seconds.
const TIMEOUT: &str = "5";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Show [`HELP`].
    Help,
    /// Show the version.
    Version,
    /// Run hooks, and start a command.
    Start(Order),
}

/// What to run, and as whom.
#[derive(Debug, PartialEq, Eq)]
pub struct Order {
    /// The hooks.
    pub hooks: ContainerHooks,
    /// The command's uid, which is never root's.
    pub uid: Uid,
    /// The command's group, which is never root's.
    pub gid: Gid,
    /// Further groups of the command, beside those of its uid's account.
    pub groups: Vec<Gid>,
    /// The lowest level that is logged.
    pub level: LevelFilter,
    /// Whether sudo should work in the command.
    pub escalation: Escalation,
    /// What happens to this process.
    pub stay: Stay,
    /// The command, with its arguments.
    pub command: Vec<OsString>,
}

/// What happens to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// It becomes the command, with the same pid.
    AsCommand,
    /// It stays as the command's init.
    AsInit,
}

/// Reads the command line, without the program's name. `variable` looks up an environment variable.
///
/// # Errors
/// [`Failure::Usage`] for an option that is unknown, repeated or has a wrong value, and if there is no
/// command.
pub fn parse(
    line: impl IntoIterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Request, Failure> {
    let mut words = Words::default();
    let mut trust = Trust::RootAlone;
    let mut escalation = Escalation::Forbidden;
    let mut stay = Stay::AsCommand;
    let mut line = line.into_iter();
    let mut is_first = true;
    loop {
        let Some(word) = line.next() else {
            return Err(usage("the command is missing: write it behind --"));
        };
        let text = word.to_str().ok_or_else(|| usage("an option is not UTF-8"))?;
        match text {
            "--" => break,
            "help" if is_first => return Ok(Request::Help),
            "-h" | "--help" | "--help-all" => return Ok(Request::Help),
            "-V" | "--version" => return Ok(Request::Version),
            "--trust-hooks-dir" => trust = Trust::AnyOwner,
            "--allow-new-privileges" => escalation = Escalation::Allowed,
            "--init" => stay = Stay::AsInit,
            "--debug" => set_once(&mut words.level, text, "debug".into())?,
            _ => {
                let option = text.strip_prefix("--").or_else(|| text.strip_prefix('-'));
                let option = option.ok_or_else(|| usage(&format!("{text:?} is not an option")))?;
                let (option, value) = match option.split_once('=') {
                    Some((option, value)) => (option, Some(value.into())),
                    None => (option, None),
                };
                let place = words.place(option);
                let place =
                    place.ok_or_else(|| usage(&format!("the option {text:?} is unknown")))?;
                let value = value.or_else(|| line.next().filter(|value| value != "--"));
                let value = value.ok_or_else(|| usage(&format!("{text} needs a value")))?;
                set_once(place, text, value)?;
            }
        }
        is_first = false;
    }
    let command: Vec<OsString> = line.collect();
    if command.first().is_none_or(|program| program.is_empty()) {
        return Err(usage("there is no command behind --"));
    }
    // A variable that an image leaves empty counts as unset.
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let directory = match (words.hooks_dir, variable("REPO_DIR")) {
        (Some(directory), _) => PathBuf::from(directory),
        (None, Some(repository)) => Path::new(&repository).join("roothooks.d"),
        (None, None) => PathBuf::from(DIRECTORY),
    };
    let directory = std::path::absolute(directory);
    Ok(Request::Start(Order {
        hooks: ContainerHooks {
            directory: directory.map_err(|_| usage("--hooks-dir is empty"))?,
            trust,
            timeout: parse_timeout(&words.timeout.unwrap_or_else(|| TIMEOUT.into()))?,
        },
        uid: Uid::from_raw(parse_own_id("--uid", words.uid, "NB_UID", &variable)?),
        gid: Gid::from_raw(parse_own_id("--gid", words.gid, "NB_GID", &variable)?),
        groups: words.groups.map_or_else(|| Ok(Vec::new()), |value| parse_groups(&value))?,
        level: parse_level(&words.level.unwrap_or_else(|| "info".into()))?,
        escalation,
        stay,
        command,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn parse_with(variables: &[(&str, &str)], line: &[&str]) -> Result<Request, Failure> {
        let find = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        parse(line.iter().map(OsString::from), find)
    }

    fn order(variables: &[(&str, &str)], line: &[&str]) -> Order {
        match parse_with(variables, line).unwrap() {
            Request::Start(order) => order,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_options_the_variables_count_and_then_the_defaults() {
        let default = order(&[("REPO_DIR", "/srv/repo")], &["--", "lab", "--uid=5"]);
        assert_eq!(default.hooks.directory, Path::new("/srv/repo/roothooks.d"));
        assert_eq!(default.hooks.timeout, Duration::from_secs(5));
        assert_eq!(default.hooks.trust, Trust::RootAlone);
        assert_eq!((default.uid.as_raw(), default.gid.as_raw()), (1000, 1000));
        assert_eq!(default.level, LevelFilter::Info);
        assert_eq!(default.escalation, Escalation::Forbidden);
        assert_eq!(default.stay, Stay::AsCommand);
        assert_eq!(default.command, ["lab", "--uid=5"]);
        let from_variables = order(&[("NB_UID", "1234"), ("NB_GID", "100")], &["--", "lab"]);
        assert_eq!((from_variables.uid.as_raw(), from_variables.gid.as_raw()), (1234, 100));
        let empty = order(&[("NB_UID", ""), ("REPO_DIR", "")], &["--", "lab"]);
        assert_eq!(empty.uid.as_raw(), 1000);
        assert_eq!(empty.hooks.directory, Path::new("/etc/roothooks.d"));
        let relative = order(&[], &["--hooks-dir=hooks", "--", "lab"]);
        assert!(relative.hooks.directory.is_absolute());
    }

    #[test]
    fn every_spelling_of_the_python_tool_is_understood() {
        let expected = order(&[], &["--hooks-dir=/h", "--uid=5", "--gid=6", "--", "lab"]);
        assert_eq!(expected.hooks.directory, Path::new("/h"));
        assert_eq!((expected.uid.as_raw(), expected.gid.as_raw()), (5, 6));
        for line in [
            &["--hooks-dir", "/h", "--uid", "5", "--gid", "6", "--", "lab"][..],
            &["--RootHooks.hooks_dir=/h", "--RootHooks.uid=5", "--RootHooks.gid=6", "--", "lab"],
            &["--RootHooks.hooks_dir", "/h", "-RootHooks.uid=5", "--gid", "6", "--", "lab"],
            &["--RootHooks.log_format=%(x)s", "--hooks_dir=/h", "--uid=5", "--gid=6", "--", "lab"],
        ] {
            assert_eq!(order(&[("NB_UID", "9"), ("REPO_DIR", "/r")], line), expected, "{line:?}");
        }
        for line in
            [&["--RootHooks.hook_timeout=0.5", "--", "x"], &["--hook-timeout=0.5", "--", "x"]]
        {
            assert_eq!(order(&[], line).hooks.timeout, Duration::from_millis(500));
        }
    }

    #[test]
    fn groups_are_ids_and_never_roots() {
        let groups = order(&[], &["--groups=100,2000", "--", "x"]).groups;
        assert_eq!(groups, [100, 2000].map(Gid::from_raw));
        assert_eq!(order(&[], &["--", "x"]).groups, []);
        for wrong in ["", "0", "100,0", "100,", "100, 2000", "users", "-1", "4294967295"] {
            let line = [&format!("--groups={wrong}"), "--", "x"];
            assert!(parse_with(&[], &line).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn levels_are_pythons_names_and_numbers() {
        for (word, level) in [
            ("--log-level=DEBUG", LevelFilter::Debug),
            ("--log-level=10", LevelFilter::Debug),
            ("--log-level=Info", LevelFilter::Info),
            ("--RootHooks.log_level=30", LevelFilter::Warn),
            ("--Application.log_level=WARN", LevelFilter::Warn),
            ("--log_level=40", LevelFilter::Error),
            ("--log-level=CRITICAL", LevelFilter::Error),
            ("--debug", LevelFilter::Debug),
        ] {
            assert_eq!(order(&[], &[word, "--", "x"]).level, level, "{word}");
        }
    }

    #[test]
    fn switches_are_off_until_they_are_given() {
        let line = ["--trust-hooks-dir", "--allow-new-privileges", "--init", "--", "x"];
        let order = order(&[], &line);
        assert_eq!(order.hooks.trust, Trust::AnyOwner);
        assert_eq!(order.escalation, Escalation::Allowed);
        assert_eq!(order.stay, Stay::AsInit);
    }

    #[test]
    fn root_and_what_is_no_id_are_refused_wherever_they_come_from() {
        for id in ["0", "-1", "4294967295", "4294967296", "", "root", "1000 ", "0x3e8"] {
            for line in [[&format!("--uid={id}"), "--", "x"], [&format!("--gid={id}"), "--", "x"]] {
                assert!(matches!(parse_with(&[], &line), Err(Failure::Usage(_))), "{line:?}");
            }
            if !id.is_empty() {
                for name in ["NB_UID", "NB_GID"] {
                    let refused = parse_with(&[(name, id)], &["--", "x"]);
                    assert!(matches!(refused, Err(Failure::Usage(_))), "{name}={id}");
                }
            }
        }
    }

    #[test]
    fn what_is_unknown_repeated_or_incomplete_is_refused() {
        for line in [
            &[][..],
            &["--"],
            &["--", ""],
            &["--uid=5"],
            &["--uid", "--", "x"],
            &["--uid=5", "--RootHooks.uid=5", "--", "x"],
            &["--debug", "--log-level=info", "--", "x"],
            &["--nope=5", "--", "x"],
            &["--Spawner.uid=5", "--", "x"],
            &["word", "--", "x"],
            &["--uid=5", "help", "--", "x"],
            &["--init=yes", "--", "x"],
            &["--hooks-dir=", "--", "x"],
            &["--hook-timeout=0", "--", "x"],
            &["--hook-timeout=-1", "--", "x"],
            &["--hook-timeout=nan", "--", "x"],
            &["--hook-timeout=1e9", "--", "x"],
            &["--log-level=loud", "--", "x"],
            &["--log-level=51", "--", "x"],
        ] {
            assert!(matches!(parse_with(&[], line), Err(Failure::Usage(_))), "{line:?}");
        }
    }

    #[test]
    fn help_and_version_are_shown_unless_they_are_the_commands() {
        for line in [&["help"][..], &["-h"], &["--help"], &["--help-all", "--", "x"]] {
            assert_eq!(parse_with(&[], line).unwrap(), Request::Help);
        }
        assert_eq!(parse_with(&[], &["-V"]).unwrap(), Request::Version);
        assert_eq!(order(&[], &["--", "x", "--help"]).command, ["x", "--help"]);
    }
}
