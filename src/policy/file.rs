//! The policy file: what root has written, as types with units.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::PathBuf;

use super::authority::{Authority, ProcessLimits};
pub use super::authority::{Hooks, Launcher, OnFailure, PATH, Targets, find_resource};
use super::reading::{malformed, parse_toml, read_text};
use super::systemd::Systemd;
use super::units::{Bytes, Umask, read_cpus, read_path};
use crate::denial::Denial;

/// The whole policy. What a file does not say is as the defaults here; without a file, what applies
/// is [`Policy::without_file`].
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The names of those who may call root mode.
    pub hub_users: Vec<String>,
    /// For whom.
    pub targets: Targets,
    /// What root runs before a server.
    pub hooks: Hooks,
    /// The server.
    pub server: Server,
    /// Its environment.
    pub environment: Environment,
    /// What it may use.
    pub limits: Limits,
    /// Its unit.
    pub systemd: Systemd,
}

impl Policy {
    /// Reads the policy file; `None` if there is none.
    ///
    /// # Errors
    /// [`Denial::PolicyUntrusted`], [`Denial::PolicyUnreadable`] and [`Denial::PolicyMalformed`].
    pub fn load() -> Result<Option<Self>, Denial> {
        read_text()?.map(|text| Self::parse(&text).map_err(malformed)).transpose()
    }

    /// Parses the text of a policy: first what root decides by, then all of it.
    ///
    /// # Errors
    /// A sentence that names line and key.
    pub fn parse(text: &str) -> Result<Self, String> {
        Authority::parse(text)?;
        let policy: Self = parse_toml(text)?;
        // Root sets those that it knows.
        let mut names = policy.limits.rlimits.keys();
        if let Some(name) = names.find(|name| find_resource(name).is_none()) {
            return Err(format!("limits.rlimits has an unknown name: {name:?}"));
        }
        let cannot_be = |(name, value): &(&String, &String)| {
            name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
        };
        match policy.environment.set.iter().find(cannot_be) {
            Some((name, _)) => {
                Err(format!("environment.set has a name or value that cannot be: {name:?}"))
            }
            None => Ok(policy),
        }
    }
}

/// `[server]`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where it lives.
    pub launcher: Launcher,
    /// Where its executable is, if not beside our own.
    #[serde(deserialize_with = "read_path")]
    pub directory: Option<PathBuf>,
    /// Where its log goes.
    pub log: Log,
    /// What becomes of the processes that it leaves behind.
    pub leftovers: Leftovers,
    /// Its umask; `None`, without a file, is the one that we were called with.
    pub umask: Option<Umask>,
    /// Whether it may gain privileges by sudo and other setuid programs.
    pub no_new_privileges: bool,
}

/// Where a server's log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// To the Hub's log, and to the journal once the Hub is gone.
    Hub,
    /// To the journal.
    Journal,
    /// To a file in the target's home.
    File,
}

/// What becomes of the processes that a server leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leftovers {
    /// They end with it.
    Kill,
    /// They go on.
    Keep,
}

/// `[environment]`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Environment {
    /// Patterns of names that do not pass.
    pub remove: Vec<String>,
    /// Patterns of names that pass; if it is there, no other does.
    pub keep: Option<Vec<String>>,
    /// What is set in any case.
    pub set: BTreeMap<String, String>,
}

/// `[limits]`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open files of each process; `None`, without a file, is what we were called with.
    pub open_files: Option<u64>,
    /// Further limits of setrlimit(2), by the names of limits.conf(5).
    pub rlimits: BTreeMap<String, u64>,
    /// Memory of all processes of a server.
    pub memory: Option<Bytes>,
    /// CPUs of all processes of a server.
    #[serde(deserialize_with = "read_cpus")]
    pub cpus: Option<f64>,
    /// How many processes and threads a server may have.
    pub tasks: Option<NonZeroU64>,
}

impl Limits {
    /// A limit that holds for a server as a whole, which only the systemd launcher can enforce.
    #[must_use]
    pub fn of_the_whole_server(&self) -> Option<&'static str> {
        let memory = self.memory.map(|_| "memory");
        memory.or(self.cpus.map(|_| "cpus")).or(self.tasks.map(|_| "tasks"))
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            launcher: Launcher::Process,
            directory: None,
            log: Log::Hub,
            leftovers: Leftovers::Kill,
            umask: Some(Umask(0o022)),
            no_new_privileges: false,
        }
    }
}

impl Default for Environment {
    fn default() -> Self {
        let removed = ["PYTHONPATH", "PYTHONHOME", "LD_PRELOAD", "LD_AUDIT", "BASH_ENV", "ENV"];
        Self { remove: removed.map(str::to_owned).to_vec(), keep: None, set: BTreeMap::new() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let ProcessLimits { open_files, rlimits } = ProcessLimits::default();
        Self { open_files, rlimits, memory: None, cpus: None, tasks: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_policy_and_says_the_defaults() {
        let example = Policy::parse(include_str!("../../sudoers/policy.toml")).unwrap();
        let default = Policy::default();
        assert_eq!(format!("{:?}", example.hooks), format!("{:?}", default.hooks));
        assert_eq!(format!("{:?}", example.server), format!("{:?}", default.server));
        assert_eq!(format!("{:?}", example.environment), format!("{:?}", default.environment));
        assert_eq!(format!("{:?}", example.limits), format!("{:?}", default.limits));
        assert_eq!(format!("{:?}", example.systemd), format!("{:?}", default.systemd));
        assert_eq!(example.hub_users, ["rhea"]);
    }

    #[test]
    fn the_unit_of_a_server_is_said_in_the_words_of_systemdspawner() {
        let policy = Policy::parse(
            r#"
            [server]
            launcher = "systemd"
            [limits]
            cpus = 2
            [systemd]
            slice = "jhub"
            unit_name = "jupyter-{USERNAME}-singleuser"
            extra_paths = ["/opt/{user}/bin"]
            read_only_paths = ["-/data", "/srv/{USERNAME}"]
            properties = { Nice = "5", ReadOnlyPaths = ["/a", "/b"] }
            "#,
        );
        let policy = policy.unwrap();
        assert_eq!(policy.limits.cpus, Some(2.0));
        assert_eq!(policy.systemd.slice.as_str(), "jhub.slice");
        let properties = [("Nice", "5"), ("ReadOnlyPaths", "/a"), ("ReadOnlyPaths", "/b")];
        assert_eq!(
            policy.systemd.properties,
            properties.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_key() {
        for (text, part) in [
            ("hub_users = []\nhub_user = []", "line 2"),
            ("[targets]\nmin_uid = 0", "targets.min_uid"),
            ("[targets]\nmin_uids = 0", "min_uids"),
            ("[hooks]\ndir = 'hooks.d'", "line 2: a path has to be absolute (dir)"),
            ("[server]\ndirectory = 'bin'", "(directory)"),
            ("[hooks]\ntimeout_seconds = 0", "(timeout_seconds)"),
            ("[hooks]\ntimeout_seconds = 1e-12", "line 2"),
            ("[hooks]\ntimeout_seconds = -1.5", "line 2"),
            ("[hooks]\ntimeout_seconds = 1e999", "line 2"),
            ("[hooks]\ntimeout_seconds = 3601", "line 2"),
            ("[hooks]\ntimeout_seconds = '5'", "line 2"),
            ("[hooks]\non_failure = 'ignore'", "line 2"),
            ("[server]\numask = '0999'", "octal"),
            ("[server]\nlauncher = 'magic'", "line 2"),
            ("[limits]\nmemory = 1000", "1 MiB"),
            ("[limits]\ncpus = nan", "(cpus)"),
            ("[limits]\ncpus = 0.001", "line 2"),
            ("[limits]\ntasks = 0", "line 2"),
            ("[systemd]\nslice = '-.slice'", "(slice)"),
            ("[systemd]\nunit_name = 'jupyter-{server}'", "(unit_name)"),
            ("[systemd]\ndefault_shell = 'bash'", "(default_shell)"),
            ("[systemd]\nextra_paths = ['/a:/b']", "(extra_paths)"),
            ("[systemd]\nextra_paths = ['-/a']", "(extra_paths)"),
            ("[systemd]\nworking_directory = '/data/{USERID}'", "(working_directory)"),
            ("[systemd]\nread_only_paths = ['data']", "(read_only_paths)"),
            ("[systemd]\nread_write_paths = ['+/data']", "(read_write_paths)"),
            ("[systemd]\nprivate_tmp = 'yes'", "(private_tmp)"),
            ("[systemd]\nproperties = { 'Exec Start' = 'x' }", "\"Exec Start\""),
            ("[systemd]\nproperties = { Nice = 5 }", "(properties)"),
            ("[systemd]\nproperties = { A = \"b\\nC=d\" }", "\"A\""),
            ("[systemd]\ndynamic_users = true", "dynamic_users"),
            ("[limits]\nrlimits = { files = 3 }", "files"),
            ("[environment]\nset = { 'A=B' = 'c' }", "environment.set"),
            ("hub_users = ['a']\nhub_users = ['b']", "line 2"),
        ] {
            let error = Policy::parse(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
