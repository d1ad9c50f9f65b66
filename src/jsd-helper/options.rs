//! The command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::refusal::Refusal;
use super::unit::HubUnit;
use ground::unit_name::SliceName;

/// The sentence for missing words.
pub const USAGE: &str = "usage: jsd-helper systemd-run --unit NAME --working-directory DIR --uid=UID \
    --gid=GID [--slice=NAME] [--property=NAME=VALUE]... DIR/jupyterhub-singleuser [ARG]... or \
    jsd-helper systemctl stop|reset-failed NAME";

/// The options. Each has a value.
const OPTIONS: [&str; 6] =
    ["--unit", "--working-directory", "--uid", "--gid", "--slice", "--property"];

/// What to do.
#[derive(Debug)]
pub enum Order {
    /// Start a unit.
    Run(Run),
    /// `stop` or `reset-failed` of a server's unit.
    Unit(&'static str, HubUnit),
    /// The same for all servers.
    Slice(&'static str, SliceName),
}

/// A unit to start.
#[derive(Debug)]
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
    /// The properties asked for, not yet parsed, so that a refusal can name the target.
    pub wishes: Vec<String>,
    /// The server.
    pub program: PathBuf,
    /// The server's arguments.
    pub args: Vec<OsString>,
}

impl Order {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// The usage, if there are too few words, as in the original; otherwise what is refused.
    pub fn parse(words: Vec<OsString>) -> Result<Self, Refusal> {
        // A word that is not UTF-8 is none of the words known here.
        let read: Vec<_> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
        match read.as_slice() {
            ["systemd-run", ..] if read.len() >= 8 => {
                Ok(Self::Run(parse_run(words.into_iter().skip(1))?))
            }
            ["systemd-run", ..] | [] | [_] | [_, _] => {
                let sentence = format!("words are missing; {USAGE}");
                Err(Refusal { code: "usage", sentence })
            }
            ["systemctl", "stop", name] => Ok(parse_control("stop", name)?),
            ["systemctl", "reset-failed", name] => Ok(parse_control("reset-failed", name)?),
            ["systemctl", ..] => {
                Err("systemctl takes stop or reset-failed, and one unit".to_owned().into())
            }
            _ => Err("the first word has to be systemd-run or systemctl".to_owned().into()),
        }
    }

    /// A word or two for the audit line.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Run(run) => format!("systemd-run:{}", run.unit.as_str()),
            Self::Unit(verb, unit) => format!("{verb}:{}", unit.as_str()),
            Self::Slice(verb, slice) => format!("{verb}:{}", slice.as_str()),
        }
    }
}

fn parse_control(verb: &'static str, name: &str) -> Result<Order, String> {
    if name.ends_with(".slice") {
        return Ok(Order::Slice(verb, SliceName::try_from(name.to_owned())?));
    }
    Ok(Order::Unit(verb, HubUnit::parse(name)?))
}

fn parse_run(mut words: impl Iterator<Item = OsString>) -> Result<Run, String> {
    let mut given = BTreeMap::new();
    let mut wishes = Vec::new();
    let program = loop {
        let word = words.next().ok_or("there is no program to be started")?;
        let Some(option) = word.to_str().filter(|word| word.starts_with('-')) else { break word };
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option, words.next().and_then(|word| word.into_string().ok())),
        };
        let known = OPTIONS.into_iter().find(|known| *known == name);
        let name =
            known.ok_or_else(|| format!("the option {word:?} is not one of this program's"))?;
        let value = value.ok_or_else(|| format!("{name} needs a value"))?;
        if name == "--property" {
            wishes.push(value);
        } else if given.insert(name, value).is_some() {
            return Err(format!("{name} is given twice"));
        }
    };
    let mut need = |name| given.remove(name).ok_or_else(|| format!("{name} is missing"));
    Ok(Run {
        unit: HubUnit::parse(&need("--unit")?)?,
        working_directory: need("--working-directory")?.into(),
        uid: need("--uid")?,
        gid: need("--gid")?,
        slice: given.remove("--slice").map(SliceName::try_from).transpose()?,
        wishes,
        program: program.into(),
        args: words.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wish::read_wishes;

    const RUN: &str =
        "systemd-run --unit jsu-zoe --working-directory /home/zoe --uid=1001 --gid=1001";
    const SERVER: &str = "/opt/hub/bin/jupyterhub-singleuser";

    fn parse(line: &str) -> Result<Order, Refusal> {
        let order = Order::parse(line.split_whitespace().map(OsString::from).collect())?;
        if let Order::Run(run) = &order {
            read_wishes(&run.wishes)?;
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
