//! What a supervisor is started with, in the form of a command line.

use std::ffi::{CString, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use nix::unistd::Pid;

use ground::server_name::ServerName;
use root::policy::file::{Leftovers, Log};
use root::privileges::Unprivileged;

/// The supervisor's `argv[0]`, and its name in `ps`. The caller cannot choose it: sudo gives the path as
/// `argv[0]`.
pub const NAME: &str = "sudospawner-supervisor";
/// What a supervisor is started with: its server, and its ends of the three pipes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inherited {
    /// The server, a child of this process.
    pub server: Pid,
    /// Carries the server's output.
    pub output: RawFd,
    /// Carries reports to the mediator.
    pub report: RawFd,
    /// Carries the word that the caller has its reply.
    pub delivered: RawFd,
    /// What happens to the processes that the server leaves behind.
    pub leftovers: Leftovers,
    /// Where the server's log goes.
    pub log: LogPlace,
}

/// Where a server's log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPlace {
    /// To the Hub's log, and to the journal once the Hub is gone.
    Hub,
    /// To the journal.
    Journal,
    /// To this file, which is opened as the target.
    File(PathBuf),
}

impl LogPlace {
    /// The place that the policy names for one of the target's servers.
    #[must_use]
    pub fn choose(log: Log, unprivileged: &Unprivileged, server_name: &ServerName) -> Self {
        match log {
            Log::Hub => Self::Hub,
            Log::Journal => Self::Journal,
            Log::File => {
                let name = match server_name.escape() {
                    name if name.is_empty() => "singleuser.log".to_owned(),
                    name => format!("singleuser-{name}.log"),
                };
                let home = &unprivileged.target().home;
                Self::File(home.join(".local/state/sudospawner").join(name))
            }
        }
    }
}

impl Inherited {
    /// The command line for a supervisor.
    #[must_use]
    pub fn to_argv(self) -> Vec<CString> {
        let numbers = [self.server.as_raw(), self.output, self.report, self.delivered];
        let numbers = numbers.iter().map(|number| number.to_string().into_bytes());
        let leftovers = match self.leftovers {
            Leftovers::Kill => &b"kill"[..],
            Leftovers::Keep => b"keep",
        };
        let log = match self.log {
            LogPlace::Hub => b"hub".to_vec(),
            LogPlace::Journal => b"journal".to_vec(),
            // It is absolute, and therefore differs from the two words.
            LogPlace::File(path) => path.into_os_string().into_vec(),
        };
        let words = std::iter::once(NAME.into()).chain(numbers).chain([leftovers.to_vec(), log]);
        words.flat_map(CString::new).collect()
    }

    /// Reads that command line, including the program's name; `None` if it is another program's.
    pub fn from_argv(argv: impl Iterator<Item = OsString>) -> Option<Self> {
        let words: Vec<OsString> = argv.skip(1).collect();
        let [server, output, report, delivered, leftovers, log] = words.try_into().ok()?;
        let number = |word: OsString| word.to_str()?.parse::<i32>().ok();
        Some(Self {
            server: Pid::from_raw(number(server)?),
            output: number(output)?,
            report: number(report)?,
            delivered: number(delivered)?,
            leftovers: match leftovers.to_str()? {
                "kill" => Leftovers::Kill,
                "keep" => Leftovers::Keep,
                _ => return None,
            },
            log: match log.to_str() {
                Some("hub") => LogPlace::Hub,
                Some("journal") => LogPlace::Journal,
                _ => {
                    Some(PathBuf::from(log)).filter(|log| log.is_absolute()).map(LogPlace::File)?
                }
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_supervisor_is_started_with_survives_the_command_line() {
        for (leftovers, log) in [
            (Leftovers::Kill, LogPlace::Hub),
            (Leftovers::Keep, LogPlace::Journal),
            (Leftovers::Kill, LogPlace::File(PathBuf::from("/home/zoe/a b.log"))),
        ] {
            let server = Pid::from_raw(4711);
            let inherited =
                Inherited { server, output: 5, report: 7, delivered: 9, leftovers, log };
            let argv = inherited.clone().to_argv().into_iter();
            let argv = argv.map(|word| word.into_string().unwrap().into());
            assert_eq!(Inherited::from_argv(argv), Some(inherited));
        }
    }

    #[test]
    fn a_command_line_with_other_words_starts_no_supervisor() {
        for line in
            ["", "x 1 2 3 4", "x 1 2 3 four kill hub", "x 1 2 3 4 spare hub", "x 1 2 3 4 kill log"]
        {
            let argv = line.split(' ').map(Into::into);
            assert_eq!(Inherited::from_argv(argv), None, "{line:?}");
        }
    }
}
