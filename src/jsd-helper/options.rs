//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use super::Refusal;
use super::unit::HubUnit;
use super::wish::{Value, Wish};
use ground::unit_name::SliceName;

/// What is said where words are missing.
pub const USAGE: &str = "usage: jsd-helper systemd-run --unit NAME --working-directory DIR --uid=UID \
    --gid=GID [--slice=NAME] [--property=NAME=VALUE]... DIR/jupyterhub-singleuser [ARG]... or \
    jsd-helper systemctl stop|reset-failed NAME";

/// The options, as they are given with a value.
const OPTIONS: [&str; 6] = ["unit", "working-directory", "uid", "gid", "slice", "property"];

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Order {
    /// A unit is to be started.
    Run(Box<Run>),
    /// A unit is to be stopped, or its failure forgotten.
    Control {
        /// `stop` or `reset-failed`.
        verb: &'static str,
        /// Which.
        subject: Subject,
    },
}

/// What systemctl is to act on.
#[derive(Debug, PartialEq)]
pub enum Subject {
    /// A server's unit.
    Unit(HubUnit),
    /// All servers.
    Slice(SliceName),
}

/// A unit that is to be started.
#[derive(Debug, PartialEq)]
pub struct Run {
    /// Its name.
    pub unit: HubUnit,
    /// Where it starts.
    pub working_directory: PathBuf,
    /// The account that it runs as, by number or name.
    pub uid: String,
    /// The account's group, by number or name.
    pub gid: String,
    /// Its slice, if not the policy's.
    pub slice: Option<SliceName>,
    /// Its properties, as they are asked for.
    pub asked: Vec<String>,
    /// Those that were read.
    pub wishes: Vec<Wish>,
    /// The server.
    pub program: PathBuf,
    /// The server's arguments.
    pub args: Vec<OsString>,
}

impl Run {
    /// Reads the properties. Apart from the rest, so that a refusal can say whose they are.
    ///
    /// # Errors
    /// [`Refusal::NotPermitted`] for one that is not on the list, has a wrong value, or is there twice.
    pub fn read_wishes(&mut self) -> Result<(), Refusal> {
        for asked in &self.asked {
            add_wish(&mut self.wishes, Wish::parse(asked)?)?;
        }
        Ok(())
    }

    /// The text of a property that was asked for.
    #[must_use]
    pub fn wish_for(&self, name: &str) -> Option<&str> {
        self.wishes.iter().find(|wish| wish.name == name).and_then(|wish| match &wish.value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }
}

impl Subject {
    /// Its name with its suffix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unit(unit) => unit.as_str(),
            Self::Slice(slice) => slice.as_str(),
        }
    }
}

impl Order {
    /// Reads the words behind the program's name.
    ///
    /// # Errors
    /// [`Refusal::Usage`] where there are too few, as in the original, and [`Refusal::NotPermitted`].
    pub fn parse(words: Vec<OsString>) -> Result<Self, Refusal> {
        let count = words.len();
        let mut words = words.into_iter();
        let program = words.next().unwrap_or_default();
        match (program.to_str(), count) {
            (_, ..3) => Err(Refusal::Usage("words are missing")),
            (Some("systemd-run"), 3..8) => Err(Refusal::Usage("words of systemd-run are missing")),
            (Some("systemd-run"), _) => parse_run(words).map(|run| Self::Run(Box::new(run))),
            (Some("systemctl"), _) => parse_control(words),
            _ => Err("the first word has to be systemd-run or systemctl".to_owned().into()),
        }
    }

    /// A word or two for the audit line.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Run(run) => format!("systemd-run:{}", run.unit.as_str()),
            Self::Control { verb, subject } => format!("{verb}:{}", subject.as_str()),
        }
    }
}

fn parse_control(mut words: impl Iterator<Item = OsString>) -> Result<Order, Refusal> {
    let (verb, name, rest) = (words.next(), words.next(), words.next());
    let verb = match verb.as_ref().and_then(|verb| verb.to_str()) {
        Some("stop") => "stop",
        Some("reset-failed") => "reset-failed",
        _ => return Err("of systemctl there are only stop and reset-failed".to_owned().into()),
    };
    let name = name.and_then(|name| name.into_string().ok()).unwrap_or_default();
    if rest.is_some() {
        return Err(format!("systemctl {verb} takes one unit").into());
    }
    let subject = if name.ends_with(".slice") {
        Subject::Slice(SliceName::try_from(name).map_err(str::to_owned)?)
    } else {
        Subject::Unit(HubUnit::parse(&name)?)
    };
    Ok(Order::Control { verb, subject })
}

fn parse_run(mut words: impl Iterator<Item = OsString>) -> Result<Run, Refusal> {
    let mut given: Vec<(&str, String)> = Vec::new();
    let mut asked: Vec<String> = Vec::new();
    let program = loop {
        let Some(word) = words.next() else {
            return Err("there is no program to be started".to_owned().into());
        };
        let Some(option) = word.to_str().and_then(|word| word.strip_prefix('-')) else {
            break word;
        };
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option, None),
        };
        let known = |known: &&&str| name.strip_prefix('-') == Some(**known);
        let Some(name) = OPTIONS.iter().find(known) else {
            return Err(format!("the option {word:?} is not one of this program's").into());
        };
        let value = value.or_else(|| words.next().and_then(|word| word.into_string().ok()));
        let value = value.ok_or_else(|| format!("--{name} needs a value"))?;
        if *name == "property" {
            asked.push(value);
        } else if given.iter().any(|(other, _)| other == name) {
            return Err(format!("--{name} is given twice").into());
        } else {
            given.push((name, value));
        }
    };
    let take = |name: &str| given.iter().find(|(other, _)| *other == name).map(|(_, value)| value);
    let need = |name: &str| take(name).cloned().ok_or_else(|| format!("--{name} is missing"));
    let slice = take("slice").map(|slice| SliceName::try_from(slice.clone()));
    Ok(Run {
        unit: HubUnit::parse(&need("unit")?)?,
        working_directory: need("working-directory")?.into(),
        uid: need("uid")?,
        gid: need("gid")?,
        slice: slice.transpose().map_err(str::to_owned)?,
        asked,
        wishes: Vec::new(),
        program: program.into(),
        args: words.collect(),
    })
}

fn add_wish(wishes: &mut Vec<Wish>, wish: Wish) -> Result<(), Refusal> {
    if !wish.is_list() && wishes.iter().any(|other| other.name == wish.name) {
        return Err(format!("the property {} is given twice", wish.name).into());
    }
    wishes.push(wish);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str =
        "systemd-run --unit jsu-zoe --working-directory /home/zoe --uid=1001 --gid=1001";
    const SERVER: &str = "/opt/hub/bin/jupyterhub-singleuser";

    fn parse(line: &str) -> Result<Order, Refusal> {
        let mut order = Order::parse(line.split_whitespace().map(OsString::from).collect())?;
        if let Order::Run(run) = &mut order {
            run.read_wishes()?;
        }
        Ok(order)
    }

    #[test]
    fn the_command_line_of_systemdspawner_is_understood() {
        let line = format!(
            "{RUN} --slice=jhub-node08 --property=PrivateTmp=yes --property=ReadOnlyDirectories=/a \
             --property=ReadOnlyDirectories=/b {SERVER} --debug --unit=x"
        );
        let Ok(Order::Run(run)) = parse(&line) else { panic!("it is refused") };
        assert_eq!((run.uid.as_str(), run.unit.as_str()), ("1001", "jsu-zoe.service"));
        assert_eq!(run.slice.unwrap().as_str(), "jhub-node08.slice");
        assert_eq!(run.wishes.len(), 3);
        assert_eq!(run.program, PathBuf::from(SERVER));
        assert_eq!(run.args, ["--debug", "--unit=x"]);
        let stop = parse("systemctl stop jsu-zoe").unwrap();
        assert_eq!(stop.describe(), "stop:jsu-zoe.service");
    }

    #[test]
    fn missing_words_are_a_usage_and_everything_else_is_refused() {
        for (line, status) in [
            ("", 1),
            ("systemctl stop", 1),
            ("systemd-run --unit jsu-zoe", 1),
            ("sh -c id", 99),
            ("systemctl start jsu-zoe", 99),
            ("systemctl stop jsu-zoe jsu-wash", 99),
            ("systemctl stop --all", 99),
            ("systemctl stop system-x*.slice", 99),
        ] {
            assert_eq!(parse(line).unwrap_err().exit_status(), status, "{line:?}");
        }
        for options in [
            "--unit jsu-x",
            "--unit=jsu-x",
            "--uid=1002",
            "--gid=0",
            "--slice=a --slice=b",
            "--property=PrivateTmp=yes --property=PrivateTmp=no",
            "--pty",
            "--pipe",
            "--user",
            "--scope",
            "--property",
            "-p PrivateTmp=yes",
            "-pPrivateTmp=yes",
            "--setenv=A=b",
            "--",
            "-",
            "--uid",
        ] {
            let refusal = parse(&format!("{RUN} {options} {SERVER}")).unwrap_err();
            assert_eq!(refusal.exit_status(), 99, "{options}");
        }
        for missing in
            ["--unit jsu-zoe", "--working-directory /home/zoe", "--uid=1001", "--gid=1001"]
        {
            let line = format!(
                "{} --slice=a --property=PrivateTmp=yes {SERVER} a",
                RUN.replace(missing, "")
            );
            assert!(parse(&line).unwrap_err().to_string().contains("is missing"), "{missing}");
        }
    }
}
