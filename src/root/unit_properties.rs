//! The properties that the policy sets on a server's unit.
//!
//! systemd does not expand specifiers (`%h`) in properties from systemd-run(1), and writes them down so that
//! it never will. Values stay as they are. Lists of paths are split into words as by a shell.

use ground::server_name::ServerName;
use ground::units::to_quota;
use serde::Serialize;

use crate::policy::file::{Leftovers, Policy};
use ground::placeholders::{MountPath, expand, expand_words, quote};

/// What a server as a whole may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Limits {
    /// Memory, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
}

/// A property's name and value, as in `systemd-run -p NAME=VALUE`.
pub type Property = (String, String);

/// What marks a server's lines in the journal, with either launcher.
const IDENTIFIER: &str = "jupyterhub-singleuser";
/// How long the processes of a unit may take to end on SIGTERM before SIGKILL follows.
const STOP_SECONDS: &str = "5";

/// The properties that the policy sets for a server, without those that root has chosen. `asked` can lower
/// the server's limits but never raise them.
#[must_use]
pub fn list_shared_properties(
    policy: &Policy,
    asked: Limits,
    user: &str,
    server: &ServerName,
) -> Vec<Property> {
    let Limits { memory, cpus } = lower_limits(policy, asked);
    let unit = &policy.systemd;
    let fixed = |value: &str| Some(value.to_owned());
    let switch = |is_set: bool| is_set.then(|| "yes".to_owned());
    let single = [
        ("TimeoutStopSec", fixed(STOP_SECONDS)),
        // A unit gets its request or variables from a process that ends soon after the start. At a second
        // start any process may have that pid.
        ("StartLimitBurst", fixed("1")),
        ("StartLimitIntervalSec", fixed("infinity")),
        ("KillMode", fixed("process").filter(|_| policy.server.leftovers == Leftovers::Keep)),
        // A Jupyter kernel that the OOM killer ends does not end its server.
        ("OOMPolicy", fixed("continue")),
        ("MemoryMax", memory.map(|bytes| bytes.to_string())),
        // Otherwise the excess would go to swap.
        ("MemorySwapMax", memory.map(|_| "0".to_owned())),
        ("CPUQuota", cpus.map(to_quota)),
        ("TasksMax", policy.limits.tasks.map(|tasks| tasks.to_string())),
        ("Slice", fixed(unit.slice.as_str())),
        ("SyslogIdentifier", fixed(IDENTIFIER)),
        ("PrivateTmp", switch(unit.private_tmp)),
        ("PrivateDevices", switch(unit.private_devices)),
    ];
    let paths = |name: &'static str, paths: &[MountPath]| -> Vec<_> {
        paths.iter().map(|path| (name, Some(quote(&expand(&path.0, user, server))))).collect()
    };
    single
        .into_iter()
        .chain(paths("ReadOnlyPaths", &unit.read_only_paths))
        .chain(paths("ReadWritePaths", &unit.read_write_paths))
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

/// The properties that root has chosen. They come last and so override the others.
#[must_use]
pub fn list_own_properties(policy: &Policy, user: &str, server: &ServerName) -> Vec<Property> {
    let own = policy.systemd.properties.iter();
    own.map(|(name, value)| (name.clone(), expand_words(value, user, server))).collect()
}

/// The limits of a server: the policy's, or the request's if lower.
#[must_use]
pub fn lower_limits(policy: &Policy, asked: Limits) -> Limits {
    let ceiling = &policy.limits;
    Limits {
        memory: ceiling.memory.map(|bytes| bytes.0).into_iter().chain(asked.memory).min(),
        cpus: ceiling.cpus.into_iter().chain(asked.cpus).reduce(f64::min),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::parse(text).unwrap()
    }

    fn list(policy: &Policy, asked: Limits) -> Vec<String> {
        let server = ServerName::parse("a/b".to_owned()).unwrap();
        let properties = [
            list_shared_properties(policy, asked, "zoe", &server),
            list_own_properties(policy, "zoe", &server),
        ]
        .concat();
        properties.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn a_policy_without_limits_gives_a_unit_in_the_slice() {
        let expected = [
            "TimeoutStopSec=5",
            "StartLimitBurst=1",
            "StartLimitIntervalSec=infinity",
            "OOMPolicy=continue",
            "Slice=jupyterhub.slice",
            "SyslogIdentifier=jupyterhub-singleuser",
        ];
        assert_eq!(list(&Policy::default(), Limits::default()), expected);
    }

    #[test]
    fn everything_in_the_policy_becomes_a_property_and_roots_own_come_last() {
        let policy = policy(
            r#"
            [limits]
            memory = "2G"
            cpus = 1.5
            tasks = 99
            rlimits = { core = 0 }
            [systemd]
            private_tmp = true
            private_devices = true
            read_only_paths = ["-/srv/a b"]
            read_write_paths = ["/data/{USERNAME}/{server}"]
            properties = { Slice = "x.slice", Nice = "5", ReadOnlyPaths = "/h/{user}%h" }
            "#,
        );
        let expected = [
            "TimeoutStopSec=5",
            "StartLimitBurst=1",
            "StartLimitIntervalSec=infinity",
            "OOMPolicy=continue",
            "MemoryMax=2147483648",
            "MemorySwapMax=0",
            "CPUQuota=150.00%",
            "TasksMax=99",
            "Slice=jupyterhub.slice",
            "SyslogIdentifier=jupyterhub-singleuser",
            "PrivateTmp=yes",
            "PrivateDevices=yes",
            "ReadOnlyPaths=\"-/srv/a b\"",
            "ReadWritePaths=\"/data/zoe/a-b\"",
            "Nice=5",
            "ReadOnlyPaths=/h/zoe%h",
            "Slice=x.slice",
        ];
        assert_eq!(list(&policy, Limits::default()), expected);
    }

    #[test]
    fn what_is_asked_for_lowers_a_limit_and_never_raises_it() {
        let policy = policy("[limits]\nmemory = '2G'\ncpus = 1.0");
        let lower = list(&policy, Limits { memory: Some(1 << 20), cpus: Some(0.5) });
        assert!(lower.contains(&"MemoryMax=1048576".to_owned()), "{lower:?}");
        assert!(lower.contains(&"CPUQuota=50.00%".to_owned()), "{lower:?}");
        let higher = list(&policy, Limits { memory: Some(1 << 40), cpus: Some(64.0) });
        assert_eq!(higher, list(&policy, Limits::default()));
        let none = list(&Policy::default(), Limits { memory: Some(1 << 20), cpus: None });
        assert!(none.contains(&"MemorySwapMax=0".to_owned()), "{none:?}");
    }
}
