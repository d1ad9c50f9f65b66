//! What may be asked for: no limit above the policy's, and no switch off that the policy relies on.

use std::fmt::Display;

use super::{Value, Wish};
use root::policy::file::Policy;

/// The limits of setrlimit(2) that are infinite if nobody sets them.
const UNLIMITED: [&str; 6] = ["as", "core", "cpu", "data", "fsize", "stack"];

/// The prefixes of properties that close part of the file system.
const CLOSING: [&str; 4] = ["ReadOnly", "Inaccessible", "Protect", "TemporaryFileSystem"];

impl Wish {
    /// Checks that the property does not ask for more than the policy gives.
    ///
    /// # Errors
    /// A sentence with the ceiling.
    pub fn check_against(&self, policy: &Policy) -> Result<(), String> {
        let Some(ceiling) = self.find_exceeded(policy) else { return Ok(()) };
        Err(format!("{} asks for more than the policy gives, which is {ceiling}", self.name))
    }

    /// What the policy gives, if that is less.
    fn find_exceeded(&self, policy: &Policy) -> Option<String> {
        let (limits, unit) = (&policy.limits, &policy.systemd);
        let (memory, tasks) = (limits.memory.map(|bytes| bytes.0), limits.tasks.map(u64::from));
        match (self.name.as_str(), &self.value) {
            ("MemoryMax", Value::Amount(asked)) => find_lower("memory", *asked, memory),
            ("MemorySwapMax", Value::Amount(asked)) => {
                memory.filter(|_| *asked > 0)?;
                Some("no swap, as limits.memory is set".to_owned())
            }
            ("TasksMax", Value::Amount(asked)) => find_lower("tasks", *asked, tasks),
            ("CPUQuota", Value::Cpus(asked)) => find_lower("cpus", *asked, limits.cpus),
            (name, Value::Amount(asked)) => {
                let name = name.strip_prefix("Limit").unwrap_or_default().to_ascii_lowercase();
                let open_files = limits.open_files.filter(|_| name == "nofile");
                match open_files.or(limits.rlimits.get(&name).copied()) {
                    Some(most) => (*asked > most).then(|| most.to_string()),
                    None if UNLIMITED.contains(&name.as_str()) => None,
                    // The system's own limit is not ours to raise.
                    None => Some("the system's: name a ceiling in limits.rlimits".to_owned()),
                }
            }
            ("PrivateTmp", Value::Switch(false)) if !unit.private_tmp => None,
            ("PrivateDevices", Value::Switch(false)) if !unit.private_devices => None,
            ("NoNewPrivileges", Value::Switch(false)) if !policy.server.no_new_privileges => None,
            (name, Value::Switch(false)) => Some(format!("{name}=yes")),
            ("ReadWritePaths", _) => find_closing(policy),
            _ => None,
        }
    }
}

/// The policy's limit, if that is less than what is asked for.
fn find_lower<N: PartialOrd + Display>(limit: &str, asked: N, most: Option<N>) -> Option<String> {
    most.filter(|most| asked > *most).map(|most| format!("limits.{limit} = {most}"))
}

/// What the policy uses to close part of the file system, which a writable path would open again.
fn find_closing(policy: &Policy) -> Option<String> {
    let paths = (!policy.systemd.read_only_paths.is_empty()).then_some("systemd.read_only_paths");
    let mut own = policy.systemd.properties.iter().map(|(name, _)| name.as_str());
    let is_closing = |name: &&str| CLOSING.iter().any(|beginning| name.starts_with(beginning));
    paths.or_else(|| own.find(is_closing)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::parse(text).unwrap()
    }

    #[test]
    fn nothing_is_asked_for_above_the_policy() {
        let limited = policy(
            r#"
            [server]
            no_new_privileges = true
            [limits]
            memory = "2G"
            cpus = 1.5
            tasks = 99
            rlimits = { nproc = 100 }
            [systemd]
            private_tmp = true
            private_devices = true
            read_only_paths = ["/srv"]
            "#,
        );
        for (text, within, above) in [
            ("MemoryMax", "2G", "infinity"),
            ("MemorySwapMax", "0", "1"),
            ("CPUQuota", "150%", "151%"),
            ("TasksMax", "99", "100"),
            ("LimitNOFILE", "65536", "65537"),
            ("LimitNPROC", "100", "infinity"),
            ("PrivateTmp", "yes", "no"),
            ("PrivateDevices", "yes", "no"),
            ("NoNewPrivileges", "yes", "no"),
            ("MemoryAccounting", "yes", "no"),
        ] {
            let check = |value| Wish::parse(&format!("{text}={value}")).unwrap();
            assert_eq!(check(within).check_against(&limited), Ok(()), "{text}");
            assert!(check(above).check_against(&limited).unwrap_err().contains(text));
        }
        let writable = Wish::parse("ReadWritePaths=/srv").unwrap();
        assert!(writable.check_against(&limited).is_err());
        assert_eq!(writable.check_against(&Policy::default()), Ok(()));
    }

    #[test]
    fn what_the_policy_does_not_limit_may_be_set_but_no_privilege_be_had_by_it() {
        for (text, is_admitted) in [
            ("MemoryMax=infinity", true),
            ("MemorySwapMax=infinity", true),
            ("CPUQuota=6400%", true),
            ("TasksMax=infinity", true),
            ("PrivateTmp=no", true),
            ("LimitCORE=infinity", true),
            ("LimitSTACK=infinity", true),
            ("LimitNOFILE=infinity", false),
            ("LimitRTPRIO=1", false),
            ("LimitNICE=40", false),
            ("LimitMEMLOCK=infinity", false),
            ("LimitNPROC=1", false),
        ] {
            let checked = Wish::parse(text).unwrap().check_against(&Policy::default());
            assert_eq!(checked.is_ok(), is_admitted, "{text}: {checked:?}");
        }
    }

    #[test]
    fn a_path_to_write_to_does_not_open_what_roots_own_properties_close() {
        let wish = Wish::parse("ReadWritePaths=/home/zoe").unwrap();
        assert_eq!(wish.check_against(&policy("")), Ok(()));
        for closing in ["ProtectHome", "ProtectSystem", "InaccessiblePaths", "ReadOnlyPaths"] {
            let closed = policy(&format!("[systemd]\nproperties = {{ {closing} = 'x' }}"));
            assert!(wish.check_against(&closed).unwrap_err().contains(closing));
        }
    }
}
