//! Limits of servers: what can be enforced here, and what limits.conf(5) sets that root mode does not apply.

use std::fs;
use std::path::Path;

use super::finding::{Area, Finding};
use super::policy::set_key;
use super::properties::read_version;
use super::scene::Scene;
use ground::units::find_resource;
use root::account::Account;
use root::policy::file::Policy;
use target::mode::Mode;

/// Looks at systemd, at cgroups, and in root mode at limits.conf.
pub fn look(scene: &Scene) -> Vec<Finding> {
    let mut findings = vec![look_at_systemd()];
    let policy = scene.policy.as_ref().filter(|_| scene.mode == Mode::Root);
    // In a session limits.conf is pam_limits' affair.
    if let Some(policy) = policy.filter(|policy| policy.server.pam_service.is_none()) {
        let lines = read_limits();
        for asked in &scene.targets {
            if let Ok(Some(account)) = &asked.account {
                // Without an answer, those for its groups are not known.
                let groups = asked.groups.as_deref().unwrap_or_default();
                let groups: Vec<&str> =
                    groups.iter().filter_map(|(_, name)| name.as_deref()).collect();
                findings.extend(find_lost(&lines, account, &groups, policy, &scene.policy_text));
            }
        }
    }
    findings
}

/// Whether systemd can limit the memory of a server as a whole.
fn look_at_systemd() -> Finding {
    let Some(version) = read_version() else {
        let sentence = "systemd does not run here: nothing can limit a server as a whole";
        return Finding::ok(Area::Limits, "systemd", sentence);
    };
    let unified = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").ok();
    let has_memory = match &unified {
        Some(controllers) => controllers.split_whitespace().any(|one| one == "memory"),
        None => Path::new("/sys/fs/cgroup/memory").is_dir(),
    };
    let cgroups = if unified.is_some() { "cgroup v2" } else { "cgroup v1" };
    let can = if has_memory { "can" } else { "cannot" };
    let sentence = format!("{version}, {cgroups}: units {can} have limits of memory");
    Finding::ok(Area::Limits, "systemd", sentence)
}

/// A line of limits.conf(5).
#[derive(Debug, PartialEq, Eq)]
struct Limit {
    domain: String,
    item: String,
    value: String,
}

fn read_limits() -> Vec<Limit> {
    let mut text = fs::read_to_string("/etc/security/limits.conf").unwrap_or_default();
    let folder = fs::read_dir("/etc/security/limits.d").into_iter().flatten().flatten();
    let mut files: Vec<_> = folder.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
    files.sort();
    for file in files {
        text.push('\n');
        text.push_str(&fs::read_to_string(file).unwrap_or_default());
    }
    parse_limits(&text)
}

fn parse_limits(text: &str) -> Vec<Limit> {
    let lines = text.lines().filter_map(|line| {
        let line = line.split('#').next()?;
        let mut fields = line.split_whitespace().map(str::to_owned);
        let (domain, kind) = (fields.next()?, fields.next()?);
        let (item, value) = (fields.next()?, fields.next()?);
        ["hard", "soft", "-"].contains(&kind.as_str()).then_some(Limit { domain, item, value })
    });
    lines.collect()
}

/// What limits.conf sets for an account and the policy does not. Without a session of PAM's this does not reach the
/// server.
fn find_lost(
    lines: &[Limit],
    account: &Account,
    groups: &[&str],
    policy: &Policy,
    text: &str,
) -> Vec<Finding> {
    let mut lost: Vec<(String, u64)> = Vec::new();
    for limit in lines.iter().filter(|limit| concerns(&limit.domain, account, groups)) {
        let Some(value) = convert(&limit.item, &limit.value) else { continue };
        let is_said = policy.limits.rlimits.contains_key(&limit.item)
            || (limit.item == "nofile" && policy.limits.open_files.is_some());
        if !is_said && find_resource(&limit.item).is_some() {
            lost.retain(|(item, _)| *item != limit.item);
            lost.push((limit.item.clone(), value));
        }
    }
    if lost.is_empty() {
        return Vec::new();
    }
    let mut all: Vec<String> =
        policy.limits.rlimits.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    all.extend(lost.iter().map(|(name, value)| format!("{name} = {value}")));
    let remedy = set_key(text, "limits", "rlimits", &format!("{{ {} }}", all.join(", ")));
    let items: Vec<&str> = lost.iter().map(|(item, _)| item.as_str()).collect();
    let sentence = format!(
        "limits.conf limits {} of {}, and root mode does not: the policy has to",
        items.join(", "),
        account.name
    );
    vec![Finding::warning(Area::Limits, "limits_conf", sentence, Some(remedy))]
}

fn concerns(domain: &str, account: &Account, groups: &[&str]) -> bool {
    let in_range = |range: &str, id: u32| {
        let (least, most) = range.split_once(':').unwrap_or((range, range));
        let within = |bound: &str, other: u32| bound.parse().unwrap_or(other);
        range.contains(':') && id >= within(least, 0) && id <= within(most, u32::MAX)
    };
    match domain.strip_prefix(['@', '%']) {
        Some(group) if domain.starts_with('@') => groups.contains(&group),
        Some(_) => false,
        None => domain == "*" || domain == account.name || in_range(domain, account.uid.as_raw()),
    }
}

/// Converts from the units of limits.conf(5) to those of setrlimit(2); `None` if the value is not a limit.
fn convert(item: &str, value: &str) -> Option<u64> {
    let number: u64 = value.parse().ok()?;
    match item {
        "as" | "core" | "data" | "fsize" | "memlock" | "stack" => number.checked_mul(1024),
        "cpu" => number.checked_mul(60),
        _ => Some(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_without_comments_and_in_the_units_of_the_system_call() {
        let limits =
            parse_limits("# zoe hard nproc 1\nzoe hard nproc 500 # few\n@x - as 10\nzoe x y z");
        assert_eq!(limits.len(), 2);
        assert_eq!(limits[0].item, "nproc");
        assert_eq!(convert("as", "10"), Some(10240));
        assert_eq!(convert("cpu", "2"), Some(120));
        assert_eq!(convert("nproc", "unlimited"), None);
    }
}
