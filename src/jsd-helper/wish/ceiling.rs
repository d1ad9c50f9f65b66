//! What the policy lets be asked for: limits at most as it has them, and no switch turned off that it rests on.

use std::num::NonZeroU64;

use super::{Value, Wish};
use root::policy::file::Policy;

impl Wish {
    /// Checks that it does not ask for more than the policy gives.
    ///
    /// # Errors
    /// A sentence with the ceiling.
    pub fn check_against(&self, policy: &Policy) -> Result<(), String> {
        let limits = &policy.limits;
        let memory = limits.memory.map(|bytes| bytes.0);
        let exceeds = |ceiling: String| {
            Err(format!("{} asks for more than the policy gives, which is {ceiling}", self.name))
        };
        match (&self.value, self.name.as_str()) {
            (Value::Amount(asked), "MemoryMax") => match memory {
                Some(most) if *asked > most => exceeds(format!("limits.memory = {most}")),
                _ => Ok(()),
            },
            (Value::Amount(1..), "MemorySwapMax") if memory.is_some() => {
                exceeds("no swap, as limits.memory is set".to_owned())
            }
            (Value::Amount(asked), "TasksMax") => match limits.tasks.map(NonZeroU64::get) {
                Some(most) if *asked > most => exceeds(format!("limits.tasks = {most}")),
                _ => Ok(()),
            },
            (Value::Cpus(asked), _) => match limits.cpus {
                Some(most) if *asked > most => exceeds(format!("limits.cpus = {most}")),
                _ => Ok(()),
            },
            (Value::Amount(asked), name) => match find_ceiling(policy, name) {
                Ceiling::At(most) if *asked > most => exceeds(most.to_string()),
                Ceiling::Missing => {
                    exceeds("the system's: name a ceiling in limits.rlimits".to_owned())
                }
                _ => Ok(()),
            },
            (Value::Switch(false), name) if is_demanded(policy, name) => {
                exceeds(format!("{name}=yes"))
            }
            (Value::Paths(_), "ReadWritePaths") => match find_closing(policy) {
                Some(property) => exceeds(property.to_owned()),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// What a limit of setrlimit(2) may be raised to.
enum Ceiling {
    At(u64),
    /// The system's own limit, which is none.
    None,
    /// The system's own limit, which is not ours to raise.
    Missing,
}

fn find_ceiling(policy: &Policy, property: &str) -> Ceiling {
    let name = property.strip_prefix("Limit").unwrap_or_default().to_ascii_lowercase();
    let open_files = policy.limits.open_files.filter(|_| name == "nofile");
    match open_files.or(policy.limits.rlimits.get(&name).copied()) {
        Some(most) => Ceiling::At(most),
        None if ["as", "core", "cpu", "data", "fsize", "stack"].contains(&name.as_str()) => {
            Ceiling::None
        }
        // Without a ceiling swap is as much as there is.
        None if property == "MemorySwapMax" => Ceiling::None,
        None => Ceiling::Missing,
    }
}

/// What of the policy closes a part of the file system, which a path to write to would open again.
fn find_closing(policy: &Policy) -> Option<&str> {
    const CLOSING: [&str; 4] = ["ReadOnly", "Inaccessible", "Protect", "TemporaryFileSystem"];
    let own = policy.systemd.properties.iter().map(|(name, _)| name.as_str());
    let mut closing =
        own.filter(|name| CLOSING.iter().any(|beginning| name.starts_with(beginning)));
    let paths = (!policy.systemd.read_only_paths.is_empty()).then_some("systemd.read_only_paths");
    paths.or(closing.next())
}

/// Whether a switch cannot be turned off: the policy has turned it on, or limits rest on it.
fn is_demanded(policy: &Policy, name: &str) -> bool {
    match name {
        "PrivateTmp" => policy.systemd.private_tmp,
        "PrivateDevices" => policy.systemd.private_devices,
        "NoNewPrivileges" => policy.server.no_new_privileges,
        _ => true,
    }
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
