//! The values of options and variables.

use std::ffi::OsString;
use std::time::Duration;

use log::LevelFilter;
use nix::unistd::Gid;

use crate::failure::{Failure, usage};
use root::account::parse_id;

/// The longest time limit, in seconds: a day.
const MAX_TIMEOUT: f64 = 86_400.0;
/// The default uid and gid, as in repo2docker.
const DEFAULT_ID: u32 = 1000;

/// The id on the command line, or in the variable, or 1000. Root's is refused from either.
///
/// # Errors
/// [`Failure::Usage`].
pub fn parse_own_id(
    option: &str,
    asked: Option<OsString>,
    name: &str,
    variable: &impl Fn(&str) -> Option<OsString>,
) -> Result<u32, Failure> {
    let (source, value) = match (asked, variable(name)) {
        (Some(value), _) => (option, value),
        (None, Some(value)) => (name, value),
        (None, None) => return Ok(DEFAULT_ID),
    };
    match value.to_str().and_then(parse_id) {
        None => Err(usage(&format!("{source} is {value:?}, which is no id"))),
        Some(0) => Err(usage(&format!("{source} is 0, and the command never runs as root"))),
        Some(id) => Ok(id),
    }
}

/// Ids of groups, separated by commas. Root's is refused.
///
/// # Errors
/// [`Failure::Usage`].
pub fn parse_groups(value: &OsString) -> Result<Vec<Gid>, Failure> {
    let ids = value.to_str().unwrap_or_default().split(',').map(parse_id);
    let ids = ids.collect::<Option<Vec<u32>>>();
    let ids = ids.ok_or_else(|| usage(&format!("--groups is {value:?}, no ids as in 100,2000")))?;
    if ids.contains(&0) {
        return Err(usage("--groups has 0, and the command never has root's group"));
    }
    Ok(ids.into_iter().map(Gid::from_raw).collect())
}

/// A number of seconds, with or without a fraction.
///
/// # Errors
/// [`Failure::Usage`].
pub fn parse_timeout(value: &OsString) -> Result<Duration, Failure> {
    value
        .to_str()
        .and_then(|text| text.parse::<f64>().ok())
        .filter(|seconds| (0.001..=MAX_TIMEOUT).contains(seconds))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| usage(&format!("hook_timeout is {value:?}, not a number of seconds")))
}

/// Accepts Python's names of levels in any case, and its numbers.
///
/// # Errors
/// [`Failure::Usage`].
pub fn parse_level(value: &OsString) -> Result<LevelFilter, Failure> {
    let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
    Ok(match (text.as_str(), text.parse::<u8>()) {
        ("debug", _) | (_, Ok(..=10)) => LevelFilter::Debug,
        ("info", _) | (_, Ok(..=20)) => LevelFilter::Info,
        ("warn" | "warning", _) | (_, Ok(..=30)) => LevelFilter::Warn,
        ("error" | "critical", _) | (_, Ok(..=50)) => LevelFilter::Error,
        _ => return Err(usage("the log level is debug, info, warn, error, critical or 0 to 50")),
    })
}
