//! Reads the policy file, but only if it is root's and all of it is understood.

use std::io::Read;
use std::path::Path;

use ground::denial::Denial;
pub use ground::denial::POLICY_PATH;
use ground::unit_name::excludes_ptrace;
use ground::units::find_resource;

use super::file::{Launcher, Leftovers, Policy};
use crate::trusted_file::{Distrust, open_trusted};

/// The maximum size of a policy, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

impl Policy {
    /// Reads the policy file; `None` if there is none.
    ///
    /// # Errors
    /// [`Denial::PolicyUntrusted`], [`Denial::PolicyUnreadable`] and [`Denial::PolicyMalformed`].
    pub fn load() -> Result<Option<Self>, Denial> {
        let file = match open_trusted(Path::new(POLICY_PATH)) {
            Ok((file, _)) => file,
            Err(Distrust::Missing(_)) => return Ok(None),
            Err(Distrust::Closed(path, errno)) => {
                return Err(Denial::PolicyUnreadable { path, errno });
            }
            Err(distrust) => return Err(Denial::PolicyUntrusted(distrust.to_string())),
        };
        let malformed = |reason| Denial::PolicyMalformed { path: POLICY_PATH.into(), reason };
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
    /// A sentence with the line and key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let policy: Self = toml::from_str(text).map_err(|error| explain(text, &error))?;
        if policy.targets.min_uid == 0 {
            return Err("targets.min_uid has to be at least 1: root is never a target".to_owned());
        }
        if policy.hooks.after_dir.is_some() && policy.server.launcher == Launcher::Slurm {
            return Err("hooks.after_dir cannot be kept with server.launcher = \"slurm\": only the node sees the end of a job; have Epilog= of slurm.conf run there what has to be done after it".to_owned());
        }
        if policy.hooks.after_dir.is_some() && policy.server.leftovers == Leftovers::Keep {
            return Err("hooks.after_dir needs server.leftovers = \"kill\": its hooks run when all that a server left is gone".to_owned());
        }
        if policy.hooks.after_dir.is_some() && policy.systemd.properties.iter().any(excludes_ptrace)
        {
            return Err("hooks.after_dir needs CAP_SYS_PTRACE in CapabilityBoundingSet of systemd.properties: the first process of a unit opens its request in the monitor".to_owned());
        }
        if policy.server.launcher == Launcher::Slurm && policy.server.pam_service.is_some() {
            return Err("server.pam_service is not for servers in jobs: Slurm opens sessions itself (UsePAM=)".to_owned());
        }
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

/// The mistake with its line, message and key. The library's own display takes several lines, as it shows the
/// line's text.
#[must_use]
pub fn explain(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let above = before.matches('\n').count();
    let key = text.lines().nth(above).and_then(|line| line.split_once('='));
    let key = key.map_or_else(String::new, |(key, _)| format!(" ({})", key.trim()));
    format!("line {}: {}{key}", above.saturating_add(1), error.message())
}
