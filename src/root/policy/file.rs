//! The policy file, as types with units.

use std::collections::BTreeMap;
use std::num::{NonZeroU8, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use ground::name_pattern::NamePattern;
use serde::de::IgnoredAny;

use super::systemd::Systemd;
use ground::units::{Bytes, Umask, read_cpus, read_path, read_seconds};

/// The whole policy. What the file does not set has the defaults given here.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The accounts that may call root mode.
    pub hub_users: Vec<String>,
    /// Whom they may call it for.
    pub targets: Targets,
    /// How root makes an account at its first use.
    pub accounts: Accounts,
    /// What root runs before and after a server.
    pub hooks: Hooks,
    /// The server.
    pub server: Server,
    /// Its environment.
    pub environment: Environment,
    /// What it may use.
    pub limits: Limits,
    /// Its unit.
    pub systemd: Systemd,
    /// Its job. Root passes over this section: `sudospawner-slurm` reads it, as the target.
    pub slurm: IgnoredAny,
}

/// `[targets]`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// Groups whose members may have servers.
    pub groups: Vec<String>,
    /// Accounts that may have servers.
    pub users: Vec<String>,
    /// Groups whose members may not, whatever stands above.
    pub deny_groups: Vec<String>,
    /// No account with a lower uid may.
    pub min_uid: u32,
    /// Whether accounts whose shell lets nobody in may.
    pub allow_nologin: bool,
}

/// `[accounts]`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Accounts {
    /// The program that makes an account. Without it none is made.
    #[serde(deserialize_with = "read_path")]
    pub create: Option<PathBuf>,
    /// The names that it is run for.
    pub names: NamePattern,
    /// How often it is run in a minute, at most.
    pub per_minute: NonZeroU8,
    /// How long it may take.
    #[serde(rename = "timeout_seconds", deserialize_with = "read_seconds")]
    pub timeout: Duration,
}

/// `[hooks]`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    /// Their directory.
    #[serde(deserialize_with = "read_path")]
    pub dir: PathBuf,
    /// How long each may take.
    #[serde(rename = "timeout_seconds", deserialize_with = "read_seconds")]
    pub timeout: Duration,
    /// What happens to the server if a hook fails.
    pub on_failure: OnFailure,
    /// Whether hooks and server share a mount namespace of their own.
    pub private_mounts: bool,
    /// The directory of the hooks that run when a server and all that it left are gone.
    #[serde(deserialize_with = "read_path")]
    pub after_dir: Option<PathBuf>,
    /// The directory of secrets for hooks.
    #[serde(deserialize_with = "read_path")]
    pub credentials: Option<PathBuf>,
}

/// What happens to the server if a hook fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It is started, and the reply reports the failure.
    Continue,
    /// It is not started.
    Fail,
}

/// `[server]`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where the server runs.
    pub launcher: Launcher,
    /// Where the server's executable is, if not beside our own.
    #[serde(deserialize_with = "read_path")]
    pub directory: Option<PathBuf>,
    /// Where its log goes.
    pub log: Log,
    /// What happens to the processes that it leaves behind.
    pub leftovers: Leftovers,
    /// Its umask. `None`, if there is no policy file, means the caller's.
    pub umask: Option<Umask>,
    /// Whether it is kept from gaining privileges through sudo and other setuid programs.
    pub no_new_privileges: bool,
    /// The service of PAM's whose session it has.
    pub pam_service: Option<String>,
}

/// Where a server runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Launcher {
    /// As a process beside us.
    #[default]
    Process,
    /// In a unit of its own.
    Systemd,
    /// In a job, on a node of a cluster.
    Slurm,
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

/// What happens to the processes that a server leaves behind.
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
    /// Patterns of variable names that are removed.
    pub remove: Vec<String>,
    /// Patterns of variable names that are kept. If this is set, all others are removed.
    pub keep: Option<Vec<String>>,
    /// Variables that are always set.
    pub set: BTreeMap<String, String>,
}

/// `[limits]`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open files per process. `None`, if there is no policy file, means the caller's limit.
    pub open_files: Option<u64>,
    /// Further limits of setrlimit(2), by their names in limits.conf(5).
    pub rlimits: BTreeMap<String, u64>,
    /// Memory for all processes of a server together.
    pub memory: Option<Bytes>,
    /// CPUs for all processes of a server together.
    #[serde(deserialize_with = "read_cpus")]
    pub cpus: Option<f64>,
    /// The number of processes and threads that a server may have.
    pub tasks: Option<NonZeroU64>,
}

impl Default for Targets {
    fn default() -> Self {
        let [groups, users, deny_groups] = Default::default();
        Self { groups, users, deny_groups, min_uid: 1000, allow_nologin: false }
    }
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            create: None,
            names: NamePattern::default(),
            per_minute: NonZeroU8::MIN.saturating_add(9),
            timeout: Duration::from_secs(30),
        }
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("/etc/sudospawner/roothooks.d"),
            timeout: Duration::from_secs(5),
            on_failure: OnFailure::Continue,
            private_mounts: true,
            after_dir: None,
            credentials: None,
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
            pam_service: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_policy_and_says_the_defaults() {
        let example = Policy::parse(include_str!("../../../sudoers/policy.toml")).unwrap();
        let default = Policy::default();
        assert_eq!(format!("{:?}", example.accounts), format!("{:?}", default.accounts));
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
            ("[targets]\ndeny_group = ['sudo']", "deny_group"),
            ("[targets]\ndeny_groups = 'sudo'", "line 2"),
            ("[accounts]\ncreate = 'useradd'", "line 2: a path has to be absolute (create)"),
            ("[accounts]\nnames = '.*'", "line 2: a pattern for names consists of"),
            ("[accounts]\nper_minute = 0", "line 2"),
            ("[accounts]\nper_minute = 256", "line 2"),
            ("[accounts]\ntimeout_seconds = 0", "(timeout_seconds)"),
            ("[accounts]\ncreates = '/x'", "line 2"),
            ("[hooks]\ndir = 'hooks.d'", "line 2: a path has to be absolute (dir)"),
            ("[server]\ndirectory = 'bin'", "(directory)"),
            ("[hooks]\ntimeout_seconds = 0", "(timeout_seconds)"),
            ("[hooks]\ntimeout_seconds = 1e-12", "line 2"),
            ("[hooks]\ntimeout_seconds = -1.5", "line 2"),
            ("[hooks]\ntimeout_seconds = 1e999", "line 2"),
            ("[hooks]\ntimeout_seconds = 3601", "line 2"),
            ("[hooks]\ntimeout_seconds = '5'", "line 2"),
            ("[hooks]\non_failure = 'ignore'", "line 2"),
            ("[hooks]\nafter_dir = 'after.d'", "(after_dir)"),
            ("[hooks]\ncredentials = 'secrets'", "(credentials)"),
            ("[hooks]\nafter_dir = '/a'\n[server]\nlauncher = 'slurm'", "hooks.after_dir"),
            ("[hooks]\nafter_dir = '/a'\n[server]\nleftovers = 'keep'", "hooks.after_dir"),
            (
                "[hooks]\nafter_dir = '/a'\n[systemd]\nproperties = { CapabilityBoundingSet = '~CAP_SYS_PTRACE' }",
                "CAP_SYS_PTRACE",
            ),
            (
                "[hooks]\nafter_dir = '/a'\n[systemd]\nproperties = { CapabilityBoundingSet = 'CAP_SETUID' }",
                "CAP_SYS_PTRACE",
            ),
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
