//! Values in the policy file that have a unit.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::resource::Resource;
use serde::de::{self, Deserialize, Deserializer};

/// A number of bytes: an integer, or a string such as `"4G"` with a power of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// A umask, written in octal: `"0022"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Umask(pub u32);

/// Reads a number of CPUs.
///
/// # Errors
/// If it is not between 0.01 and 4096.
pub fn read_cpus<'de, D: Deserializer<'de>>(number: D) -> Result<Option<f64>, D::Error> {
    // Integers are accepted, too.
    let cpus = Some(f64::deserialize(number)?);
    let wrong = || de::Error::custom("CPUs are a number from 0.01 to 4096");
    cpus.filter(|cpus| (0.01..=4096.0).contains(cpus)).map(Some).ok_or_else(wrong)
}

/// CPUs as systemd's `CPUQuota=`, which has a precision of hundredths of a percent.
#[must_use]
pub fn to_quota(cpus: f64) -> String {
    format!("{:.2}%", cpus * 100.0)
}

/// The longest time limit that the policy can set: an hour.
const LONGEST: Duration = Duration::from_secs(3600);

/// Reads a number of seconds, with or without a fraction.
///
/// # Errors
/// If it is not more than 0 and at most 3600.
pub fn read_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    // Integers are accepted, too.
    Duration::try_from_secs_f64(f64::deserialize(deserializer)?)
        .ok()
        .filter(|limit| !limit.is_zero() && *limit <= LONGEST)
        .ok_or_else(|| de::Error::custom("seconds have to be more than 0 and at most 3600"))
}

/// Reads an absolute path, which may be optional.
///
/// # Errors
/// If it is not absolute.
pub fn read_path<'de, D: Deserializer<'de>, P: From<PathBuf>>(text: D) -> Result<P, D::Error> {
    let path = PathBuf::deserialize(text)?;
    let wrong = || de::Error::custom("a path has to be absolute");
    if path.is_absolute() { Ok(path.into()) } else { Err(wrong()) }
}

/// The resource of setrlimit(2) with this name in limits.conf(5).
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

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Either {
            Integer(u64),
            Text(String),
        }
        let bytes = match Either::deserialize(deserializer)? {
            Either::Integer(bytes) => Some(bytes),
            Either::Text(text) => parse_bytes(&text),
        };
        bytes
            .filter(|bytes| *bytes >= 1 << 20)
            .map(Self)
            .ok_or_else(|| de::Error::custom("memory has to be at least 1 MiB, as in \"4G\""))
    }
}

/// Reads `512`, `512K`, `512M` and so on, powers of 1024.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().last()? {
        (end, 'K') => (text.get(..end)?, 10),
        (end, 'M') => (text.get(..end)?, 20),
        (end, 'G') => (text.get(..end)?, 30),
        (end, 'T') => (text.get(..end)?, 40),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1_u64 << shift)
}

impl<'de> Deserialize<'de> for Umask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u32::from_str_radix(&text, 8)
            .ok()
            .filter(|umask| *umask <= 0o777)
            .map(Self)
            .ok_or_else(|| de::Error::custom("a umask is an octal string, as in \"0022\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_and_never_wrap() {
        assert_eq!(parse_bytes("4G"), Some(4 << 30));
        assert_eq!(parse_bytes("512M"), Some(512 << 20));
        assert_eq!(parse_bytes("1048576"), Some(1 << 20));
        for wrong in ["", "G", "4g", "4GB", "-1G", "4.5G", "99999999999T", "1 G"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong:?}");
        }
    }
}
