//! What root decides by: the part of the policy file that root reads. Of everything else in it root
//! knows no more than where it ends; that is read by a process that is the target.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::resource::Resource;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny};

/// Where it is. Fixed when compiled: never from argv, environment or request.
pub const PATH: &str = "/etc/sudospawner/policy.toml";

/// Root's part of the policy. What a file does not say is as the defaults here.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authority {
    /// The names of those who may call root mode.
    pub hub_users: Vec<String>,
    /// For whom.
    pub targets: Targets,
    /// What root runs before a server.
    pub hooks: Hooks,
    /// What a server may become.
    pub server: Powers,
    /// What each of its processes may use.
    pub limits: ProcessLimits,
    /// Not for root.
    pub environment: IgnoredAny,
    /// Not for root, unless servers are units.
    pub systemd: IgnoredAny,
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
    #[serde(deserialize_with = "read_path")]
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

/// Of `[server]`.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub struct Powers {
    /// Where it lives.
    pub launcher: Launcher,
    /// Whether it may gain privileges by sudo and other setuid programs.
    pub no_new_privileges: bool,
}

/// Where a server lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Launcher {
    /// As a process beside us.
    #[default]
    Process,
    /// In a unit of its own.
    Systemd,
}

/// Of `[limits]`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default)]
pub struct ProcessLimits {
    /// Open files of each process; `None`, without a file, is what we were called with.
    pub open_files: Option<u64>,
    /// Further limits of setrlimit(2), by the names of limits.conf(5).
    pub rlimits: BTreeMap<String, u64>,
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

impl Default for ProcessLimits {
    fn default() -> Self {
        Self { open_files: Some(65536), rlimits: BTreeMap::new() }
    }
}

/// No time limit in the policy is longer than an hour.
const LONGEST: Duration = Duration::from_secs(3600);

/// Reads a number of seconds, with or without a fraction.
///
/// # Errors
/// If it is not more than 0 and at most 3600.
pub fn read_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    // An integer is taken as well.
    Duration::try_from_secs_f64(f64::deserialize(deserializer)?)
        .ok()
        .filter(|limit| !limit.is_zero() && *limit <= LONGEST)
        .ok_or_else(|| de::Error::custom("seconds have to be more than 0 and at most 3600"))
}

/// Reads an absolute path, which may be optional.
///
/// # Errors
/// If it does not begin at the root.
pub fn read_path<'de, D: Deserializer<'de>, P: From<PathBuf>>(text: D) -> Result<P, D::Error> {
    let path = PathBuf::deserialize(text)?;
    let wrong = || de::Error::custom("a path has to be absolute");
    if path.is_absolute() { Ok(path.into()) } else { Err(wrong()) }
}

/// The resource of setrlimit(2) by its name in limits.conf(5).
#[must_use]
pub fn find_resource(name: &str) -> Option<Resource> {
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
