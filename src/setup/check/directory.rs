//! What accounts and groups come from, beside the files of this machine.

use std::fs;

/// What has accounts and groups of this machine alone, nsswitch.conf(5).
const LOCAL: [&str; 5] = ["files", "compat", "systemd", "altfiles", "db"];

/// The services that a look-up in this database, `passwd` or `group`, asks beside the machine's own, as words
/// for a sentence: a service that does not answer is the same to NSS as one that does not know a name.
pub fn name_directories(database: &str) -> Option<String> {
    let services = find_services(database);
    (!services.is_empty()).then(|| format!("{} (/etc/nsswitch.conf)", services.join(" or ")))
}

/// The daemons behind such services.
const DAEMONS: [(&str, &str); 3] = [("sss", "sssd"), ("ldap", "nslcd"), ("winbind", "winbind")];

/// The command that has the services of this database begin anew, or asks all of them if they are not known.
pub fn restart_directories(database: &str) -> String {
    let services = find_services(database);
    let is_named = |(service, _): &&(&str, &str)| services.iter().any(|one| one == service);
    let daemons: Vec<&str> = DAEMONS.iter().filter(is_named).map(|(_, daemon)| *daemon).collect();
    match daemons.as_slice() {
        [] => format!("timeout 5 getent {database}"),
        _ => format!("systemctl restart {}", daemons.join(" ")),
    }
}

fn find_services(database: &str) -> Vec<String> {
    let text = fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    read_services(&text, database)
}

fn read_services(text: &str, database: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let named = lines.filter_map(|line| line.trim().strip_prefix(database)?.strip_prefix(':'));
    // An action stands in brackets, and may consist of several words.
    let words = named.flat_map(|rest| rest.split('[').flat_map(after_action));
    words.filter(|word| !LOCAL.contains(word)).map(str::to_owned).collect()
}

fn after_action(part: &str) -> impl Iterator<Item = &str> {
    part.split_once(']').map_or(part, |(_, rest)| rest).split_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_beside_the_machines_own_are_found() {
        for (text, services) in [
            ("passwd: files systemd\ngroup: files sss\n", &[][..]),
            ("passwd:\tfiles sss # ldap\n# passwd: nis\n", &["sss"]),
            ("passwd: sss [NOTFOUND=return UNAVAIL=continue] files ldap\n", &["sss", "ldap"]),
            ("passwd: files[SUCCESS=merge]winbind", &["winbind"]),
            ("", &[]),
        ] {
            assert_eq!(read_services(text, "passwd"), services, "{text:?}");
        }
    }
}
