//! SELinux: its mode and its denials.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::finding::{Area, Finding};

/// Where the kernel's denials are.
pub const AUDIT_LOG: &str = "/var/log/audit/audit.log";
/// How much of the end of the audit log is read, in bytes.
const TAIL: u64 = 4 * 1024 * 1024;
/// The programs of a spawn, with names cut by the kernel to 15 characters.
const PROGRAMS: [&str; 5] =
    ["sudo", "sudospawner", "sudospawner-sup", "sudospawner-sin", "jupyterhub-sing"];

/// Looks at the mode, and at the audit log if this account can read it.
pub fn look() -> Vec<Finding> {
    let Ok(enforcing) = std::fs::read_to_string("/sys/fs/selinux/enforce") else {
        return vec![Finding::ok(Area::Selinux, "selinux", "SELinux is not in use")];
    };
    let mode = if enforcing.trim() == "1" { "enforcing" } else { "permissive" };
    let mut findings = vec![Finding::ok(Area::Selinux, "selinux", format!("SELinux is {mode}"))];
    let denied = read_tail(Path::new(AUDIT_LOG)).map(|text| find_denied(&text));
    for program in denied.unwrap_or_default() {
        let sentence = format!("SELinux has denied something to {program}");
        let remedy = format!(
            "ausearch --message avc --comm {program} --raw | audit2allow -M sudospawner-local && \
             semodule --install sudospawner-local.pp"
        );
        findings.push(match mode {
            "enforcing" => Finding::problem(Area::Selinux, "selinux_denied", sentence, remedy),
            _ => Finding::warning(Area::Selinux, "selinux_denied", sentence, Some(remedy)),
        });
    }
    findings
}

fn read_tail(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The programs of a spawn that were denied something, according to the kernel's audit log.
fn find_denied(log: &str) -> Vec<&'static str> {
    let denials: Vec<&str> = log.lines().filter(|line| line.contains("avc:  denied")).collect();
    let is_denied = |program: &&&str| {
        let comm = format!("comm=\"{program}\"");
        denials.iter().any(|line| line.contains(&comm))
    };
    PROGRAMS.iter().filter(is_denied).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denials_of_our_programs_are_found_among_others() {
        let log = "\
type=AVC msg=audit(1700000000.1:1): avc:  denied  { execute } for  pid=1 comm=\"sudospawner\" name=\"x\"
type=AVC msg=audit(1700000000.2:2): avc:  denied  { read } for  pid=2 comm=\"httpd\" name=\"y\"
type=SYSCALL msg=audit(1700000000.3:3): comm=\"sudo\" exe=\"/usr/bin/sudo\"
";
        assert_eq!(find_denied(log), ["sudospawner"]);
    }
}
