//! The command line, in the notation of upstream (tornado): one dash or two, `-` or `_`.

use std::ffi::OsString;

use ground::diagnostics;
use log::LevelFilter;

use crate::error::Error;

/// The text of `--help`. Administrators call it through sudo to test their sudoers.
pub const HELP: &str = include_str!("help.txt");

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Show [`HELP`].
    Help,
    /// Show the version.
    Version,
    /// Read a request and answer it.
    Answer(Options),
}

/// The options of a call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The lowest level that is logged.
    pub logging: Option<LevelFilter>,
    /// The account that the caller means.
    pub user: Option<String>,
    /// The action, which the request states, too.
    pub action: Option<String>,
    /// The server's name, which the request states, too.
    pub server_name: Option<String>,
}

impl Options {
    /// Checks that the request is the one that the command line announces: if it names an action, action and
    /// server have to be the request's.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn check_request(&self, action: &str, server_name: &str) -> Result<(), Error> {
        let announced = self.server_name.as_deref();
        let is_other = match &self.action {
            Some(other) => other != action || announced.unwrap_or_default() != server_name,
            None => announced.is_some_and(|name| name != server_name),
        };
        if is_other {
            return Err(usage("--action and --server-name have to say what the request says"));
        }
        Ok(())
    }
}

/// Options of tornado that would write a file as the target, or that name one.
const REFUSED: [&str; 6] = [
    "log-file-prefix",
    "log-file-max-size",
    "log-file-num-backups",
    "log-rotate-mode",
    "log-rotate-when",
    "log-rotate-interval",
];

/// Reads the command line, and starts logging at its level.
///
/// # Errors
/// [`Error::Usage`] and [`Error::OptionRefused`].
pub fn read_command_line(words: &[OsString]) -> Result<Command, Error> {
    let command = parse(words.iter().cloned());
    let level = match &command {
        Ok(Command::Answer(options)) => options.logging,
        _ => None,
    };
    diagnostics::start_logging("sudospawner", level.unwrap_or(LevelFilter::Info));
    command
}

/// Starts logging at the level that the command line asks for, in a process that has not read it.
pub fn start_logging_as_asked() {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let _ = read_command_line(&words);
}

/// Reads the command line, without the program's name.
///
/// # Errors
/// [`Error::Usage`] for an option that is unknown, repeated or has a wrong value, and for words that are not
/// options; [`Error::OptionRefused`] for options that would write files.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Command, Error> {
    let mut options = Options::default();
    let mut seen: Vec<String> = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let word = word.into_string().map_err(|_| usage("an option is not UTF-8"))?;
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let Some(name) = name.strip_prefix("--").or_else(|| name.strip_prefix('-')) else {
            return Err(usage(&format!("{word:?} is not an option")));
        };
        let name = name.replace('_', "-");
        if seen.contains(&name) {
            return Err(usage(&format!("the option --{name} is given twice")));
        }
        match (name.as_str(), value) {
            ("help", None) => return Ok(Command::Help),
            ("version", None) => return Ok(Command::Version),
            ("logging", Some(level)) => options.logging = Some(parse_level(&level)?),
            ("log-to-stderr", value) => parse_switch(value.as_deref())?,
            ("action", Some(action)) => options.action = Some(action),
            ("server-name", Some(name)) => options.server_name = Some(name),
            ("user", Some(user)) => options.user = Some(user),
            ("user", None) => {
                let user = words.next().and_then(|word| word.into_string().ok());
                options.user = Some(user.ok_or_else(|| usage("--user needs a name"))?);
            }
            (refused, _) if REFUSED.contains(&refused) => {
                return Err(Error::OptionRefused(name));
            }
            ("logging", None) => {
                return Err(usage("--logging needs a level, as in --logging=info"));
            }
            ("action" | "server-name", None) => {
                return Err(usage(&format!("--{name} needs a value, as in --{name}=…")));
            }
            ("help" | "version", Some(_)) => {
                return Err(usage(&format!("--{name} takes no value")));
            }
            _ => return Err(usage(&format!("the option {word:?} is unknown"))),
        }
        seen.push(name);
    }
    Ok(Command::Answer(options))
}

fn usage(sentence: &str) -> Error {
    Error::Usage(sentence.to_owned())
}

/// Accepts Python's names of levels in any case, and tornado's `none`.
fn parse_level(level: &str) -> Result<LevelFilter, Error> {
    match level.to_ascii_lowercase().as_str() {
        "debug" => Ok(LevelFilter::Debug),
        "info" => Ok(LevelFilter::Info),
        "warning" | "warn" => Ok(LevelFilter::Warn),
        "error" | "critical" => Ok(LevelFilter::Error),
        "none" => Ok(LevelFilter::Off),
        _ => Err(usage("--logging takes debug, info, warning, error or none")),
    }
}

fn parse_switch(value: Option<&str>) -> Result<(), Error> {
    match value.map(str::to_ascii_lowercase).as_deref() {
        None | Some("true" | "t" | "1" | "false" | "f" | "0") => Ok(()),
        Some(_) => Err(usage("--log-to-stderr takes true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use root::options::{RootOptions, find_options};

    fn parse_line(line: &[&str]) -> Result<Command, Error> {
        parse(line.iter().map(OsString::from))
    }

    fn level_of(line: &[&str]) -> Option<LevelFilter> {
        match parse_line(line).unwrap() {
            Command::Answer(options) => options.logging,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_level_is_read_in_any_case_with_one_dash_or_two() {
        assert_eq!(level_of(&["--logging=INFO"]), Some(LevelFilter::Info));
        assert_eq!(level_of(&["-logging=Debug", "--log_to_stderr"]), Some(LevelFilter::Debug));
        assert_eq!(level_of(&["--logging=none", "--log-to-stderr=False"]), Some(LevelFilter::Off));
        assert_eq!(level_of(&[]), None);
    }

    #[test]
    fn an_option_that_writes_files_is_refused_however_it_is_written() {
        for option in
            ["--log-file-prefix=/home/zoe/.bashrc", "-log_file_prefix=x", "--log_rotate_mode=time"]
        {
            assert_eq!(parse_line(&[option]).unwrap_err().code(), "option_refused", "{option}");
        }
    }

    #[test]
    fn what_is_unknown_repeated_or_without_its_value_is_refused() {
        for line in [
            &["--policy=/tmp/p"][..],
            &["--logging"],
            &["--logging=loud"],
            &["--logging=info", "--logging=info"],
            &["--log-to-stderr", "--log_to_stderr"],
            &["--user"],
            &["--action"],
            &["--server-name"],
            &["--help=x"],
            &["spawn"],
            &["--"],
            &[""],
            &["---help"],
        ] {
            assert_eq!(parse_line(line).unwrap_err().code(), "usage", "{line:?}");
        }
    }

    #[test]
    fn the_user_is_read_with_an_equals_sign_or_a_space() {
        for line in [&["--user=zoe"][..], &["--user", "zoe"]] {
            let options = Options { user: Some("zoe".to_owned()), ..Options::default() };
            assert_eq!(parse_line(line).unwrap(), Command::Answer(options));
        }
    }

    #[test]
    fn a_command_line_announces_the_request_that_comes_or_none() {
        let check = |line: &[&str], action: &str, name: &str| match parse_line(line).unwrap() {
            Command::Answer(options) => options.check_request(action, name).is_ok(),
            other => panic!("{other:?}"),
        };
        assert!(check(&[], "stop", "gpu"));
        assert!(check(&["--action=stop"], "stop", ""));
        assert!(check(&["--action=stop", "--server_name=gpu"], "stop", "gpu"));
        assert!(check(&["--server-name=gpu"], "kill", "gpu"));
        assert!(!check(&["--action=stop"], "stop", "gpu"));
        assert!(!check(&["--action=stop"], "spawn", ""));
        assert!(!check(&["--action=stop", "--server-name=gpu"], "stop", ""));
        assert!(!check(&["--server-name=gpu"], "stop", ""));
    }

    #[test]
    fn of_a_command_line_that_is_right_both_readers_find_the_same() {
        let words = [
            "--user=zoe",
            "-user",
            "wash",
            "--logging=info",
            "--log-to-stderr",
            "--user=",
            "--action=stop",
            "-action=",
            "--server-name=gpu",
            "-server_name=a=b",
        ];
        let mut right = 0;
        for first in words {
            for second in words {
                for third in words {
                    let line = [first, second, third].map(OsString::from).to_vec();
                    let Ok(Command::Answer(options)) = parse(line.clone()) else { continue };
                    let Some(user) = options.user.as_deref() else {
                        assert_eq!(find_options(&line), None, "{line:?}");
                        continue;
                    };
                    let expected = RootOptions { user, action: options.action.as_deref() };
                    assert_eq!(find_options(&line), Some(expected), "{line:?}");
                    right += 1;
                }
            }
        }
        assert!(right > 50);
    }
}
