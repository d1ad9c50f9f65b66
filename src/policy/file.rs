//! The policy file: what root has written, as types with units.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::units::{Bytes, Umask, read_seconds};
use crate::error::Error;
use crate::trusted_file::{Distrust, open_trusted};

/// Where it is. Fixed when compiled: never from argv, environment or request.
pub const PATH: &str = "/etc/sudospawner/policy.toml";
/// A policy is at most this large, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

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
}

/// `[targets]`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// Groups whose members may have servers.
    pub groups: Vec<String>,
    /// Accounts that may have servers.
    pub users: Vec<String>,
    /// No uid below this one may.
    pub min_uid: u32,
    /// Whether accounts whose shell lets nobody in may.
    pub allow_nologin: bool,
}

/// `[hooks]`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    /// Their directory.
    pub dir: PathBuf,
    /// How long each may take.
    #[serde(rename = "timeout_seconds", deserialize_with = "read_seconds")]
    pub timeout: Duration,
    /// What becomes of the server if one fails.
    pub on_failure: OnFailure,
    /// Whether hooks and server share a mount namespace of their own.
    pub private_mounts: bool,
}

/// What becomes of the server if a hook fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It is started all the same, and the reply tells.
    Continue,
    /// It is not started.
    Fail,
}

/// `[server]`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where it lives.
    pub launcher: Launcher,
    /// Where its executable is, if not beside our own.
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

/// Where a server lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Launcher {
    /// As a process beside us.
    Process,
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
    pub cpus: Option<f64>,
    /// How many processes and threads a server may have.
    pub tasks: Option<u64>,
}

impl Default for Targets {
    fn default() -> Self {
        Self { groups: Vec::new(), users: Vec::new(), min_uid: 1000, allow_nologin: false }
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("/etc/sudospawner/roothooks.d"),
            timeout: Duration::from_secs(5),
            on_failure: OnFailure::Continue,
            private_mounts: true,
        }
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
        Self {
            open_files: Some(65536),
            rlimits: BTreeMap::new(),
            memory: None,
            cpus: None,
            tasks: None,
        }
    }
}

impl Policy {
    /// What applies where there is no file: the behaviour of the Python sudospawner.
    #[must_use]
    pub fn without_file() -> Self {
        let mut policy = Self::default();
        policy.targets.min_uid = 1;
        policy.server.umask = None;
        policy.environment.remove = vec!["PYTHONPATH".to_owned()];
        policy.limits.open_files = None;
        policy
    }

    /// Reads the policy file; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::PolicyUntrusted`], [`Error::PolicyUnreadable`] and [`Error::PolicyMalformed`].
    pub fn load() -> Result<Option<Self>, Error> {
        Self::load_from(Path::new(PATH))
    }

    fn load_from(path: &Path) -> Result<Option<Self>, Error> {
        let file = match open_trusted(path) {
            Ok((file, _)) => file,
            Err(Distrust::Missing(_)) => return Ok(None),
            Err(Distrust::Closed(path, errno)) => {
                return Err(Error::PolicyUnreadable { path, errno });
            }
            Err(distrust) => return Err(Error::PolicyUntrusted(distrust.to_string())),
        };
        let malformed = |reason: String| Error::PolicyMalformed { path: path.to_owned(), reason };
        let mut text = String::new();
        file.take(MAX_BYTES.saturating_add(1))
            .read_to_string(&mut text)
            .map_err(|error| malformed(error.to_string()))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(malformed(format!("it is larger than {MAX_BYTES} bytes")));
        }
        Self::parse(&text).map(Some).map_err(malformed)
    }

    /// Parses the text of a policy.
    ///
    /// # Errors
    /// A sentence that names line and key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let policy: Self = toml::from_str(text).map_err(|error| describe(text, &error))?;
        policy.check()?;
        Ok(policy)
    }

    /// What types cannot say.
    fn check(&self) -> Result<(), String> {
        if self.targets.min_uid == 0 {
            return Err("targets.min_uid has to be at least 1: root is never a target".to_owned());
        }
        for (key, path) in [
            ("hooks.dir", Some(&self.hooks.dir)),
            ("server.directory", self.server.directory.as_ref()),
        ] {
            if path.is_some_and(|path| !path.is_absolute()) {
                return Err(format!("{key} has to be an absolute path"));
            }
        }
        for (name, value) in &self.environment.set {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(format!(
                    "environment.set has a name or value that cannot be: {name:?}"
                ));
            }
        }
        if let Some(name) = self.limits.rlimits.keys().find(|name| find_resource(name).is_none()) {
            return Err(format!("limits.rlimits has an unknown name: {name:?}"));
        }
        if self.limits.cpus.is_some_and(|cpus| !(0.01..=4096.0).contains(&cpus)) {
            return Err("limits.cpus has to be from 0.01 to 4096".to_owned());
        }
        Ok(())
    }
}

/// The resource of setrlimit(2) by its name in limits.conf(5).
#[must_use]
pub fn find_resource(name: &str) -> Option<nix::sys::resource::Resource> {
    use nix::sys::resource::Resource;
    Some(match name {
        "as" => Resource::RLIMIT_AS,
        "core" => Resource::RLIMIT_CORE,
        "cpu" => Resource::RLIMIT_CPU,
        "data" => Resource::RLIMIT_DATA,
        "fsize" => Resource::RLIMIT_FSIZE,
        "memlock" => Resource::RLIMIT_MEMLOCK,
        "msgqueue" => Resource::RLIMIT_MSGQUEUE,
        "nice" => Resource::RLIMIT_NICE,
        "nofile" => Resource::RLIMIT_NOFILE,
        "nproc" => Resource::RLIMIT_NPROC,
        "rtprio" => Resource::RLIMIT_RTPRIO,
        "sigpending" => Resource::RLIMIT_SIGPENDING,
        "stack" => Resource::RLIMIT_STACK,
        _ => return None,
    })
}

/// Line and message; the library's own display shows the line's text as well, on several lines.
fn describe(text: &str, error: &toml::de::Error) -> String {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map_or(1, |before| before.matches('\n').count().saturating_add(1));
    format!("line {line}: {}", error.message())
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
        assert_eq!(example.hub_users, ["rhea"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_key() {
        for (text, part) in [
            ("hub_users = []\nhub_user = []", "line 2"),
            ("[targets]\nmin_uid = 0", "targets.min_uid"),
            ("[targets]\nmin_uids = 0", "min_uids"),
            ("[hooks]\ndir = 'hooks.d'", "hooks.dir"),
            ("[hooks]\ntimeout_seconds = 0", "line 2"),
            ("[hooks]\ntimeout_seconds = 1e-12", "line 2"),
            ("[hooks]\ntimeout_seconds = -1.5", "line 2"),
            ("[hooks]\ntimeout_seconds = 1e999", "line 2"),
            ("[hooks]\ntimeout_seconds = 3601", "line 2"),
            ("[hooks]\non_failure = 'ignore'", "line 2"),
            ("[server]\numask = '0999'", "octal"),
            ("[server]\nlauncher = 'magic'", "line 2"),
            ("[limits]\nmemory = 1000", "1 MiB"),
            ("[limits]\ncpus = nan", "limits.cpus"),
            ("[limits]\nrlimits = { files = 3 }", "files"),
            ("[environment]\nset = { 'A=B' = 'c' }", "environment.set"),
            ("hub_users = ['a']\nhub_users = ['b']", "line 2"),
        ] {
            let error = Policy::parse(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
