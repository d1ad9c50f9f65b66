//! Accounts that can become root. A Hub that was taken over can do what they can if it may start their servers.

use std::collections::BTreeMap;

use super::accounts::find_group;
use super::directory::name_directories;
use super::finding::{Area, Finding};
use super::policy::add_to_list;
use super::remedy::quote;
use super::scene::{Asked, Scene};
use root::policy::file::Policy;
use root::policy::reading::POLICY_PATH;
use target::mode::Mode;

/// Groups that are as good as root, each with the reason.
const POWERFUL: [(&str, &str); 11] = [
    ("sudo", "sudo runs everything for its members"),
    ("wheel", "sudo and su let its members become root"),
    ("admin", "sudo runs everything for its members"),
    ("docker", "docker starts containers as root, with any file of the machine in them"),
    ("lxd", "lxd starts containers as root, with any file of the machine in them"),
    ("incus-admin", "incus starts containers as root, with any file of the machine in them"),
    ("libvirt", "libvirt starts virtual machines as root, with any disk of the machine"),
    ("disk", "its members read and write whole disks, past all rights of files"),
    ("kmem", "its members read the memory of the kernel"),
    ("shadow", "its members read the hashes of all passwords, also of root's"),
    ("adm", "its members read all logs, and what secrets got into them"),
];

/// How many accounts are named in one sentence.
const MAX_NAMES: usize = 10;

/// Looks at the groups of the policy, and at the members of those that may have servers.
pub fn look(scene: &Scene) -> Vec<Finding> {
    scene.policy.iter().flat_map(look_at_denied).chain(look_at_permitted(scene)).collect()
}

/// Whether an account that is asked about can become root, and what the policy's `deny_groups` say of it.
pub fn judge(scene: &Scene, asked: &Asked) -> Vec<Finding> {
    let Ok(groups) = &asked.groups else { return Vec::new() };
    let groups: Vec<&str> = groups.iter().filter_map(|(_, name)| name.as_deref()).collect();
    let (name, user) = (&asked.name, quote(&asked.name));
    let denied = list_denied(scene);
    if let Some(group) = denied.iter().find(|group| groups.contains(&group.as_str())) {
        let sentence = format!("{name} is in {group}, one of targets.deny_groups");
        let remedy = format!("gpasswd --delete {user} {}", quote(group));
        return vec![Finding::problem(Area::Target, "target_not_permitted", sentence, remedy)];
    }
    let powerful = POWERFUL.iter().filter(|(group, _)| groups.contains(group));
    let explain = |(group, reason): &(&str, &str)| {
        let sentence = format!(
            "{name} is in {group}: {reason}; so whoever takes the Hub over becomes root through {name}'s server, \
             unless targets.deny_groups of the policy has {group}"
        );
        Finding::warning(Area::Target, "becomes_root", sentence, deny(scene, &[group]))
    };
    powerful.map(explain).collect()
}

/// The accounts among those that may have servers that can become root.
fn look_at_permitted(scene: &Scene) -> Option<Finding> {
    let members = |group: &str| {
        find_group(group).ok().flatten().map(|group| group.members).unwrap_or_default()
    };
    let mut permitted = scene.permitted_users();
    permitted.extend(scene.permitted_groups().iter().flat_map(|group| members(group)));
    let denied = list_denied(scene);
    let harmless: Vec<String> = denied.iter().flat_map(|group| members(group)).collect();
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (group, _) in POWERFUL {
        for name in members(group) {
            let is_permitted = scene.permits_everyone() || permitted.contains(&name);
            if is_permitted && !harmless.contains(&name) && !scene.is_hub(&name) {
                found.entry(name).or_default().push(group);
            }
        }
    }
    let mut groups: Vec<&str> = found.values().flatten().copied().collect();
    groups.sort_unstable();
    groups.dedup();
    let named = found.iter().take(MAX_NAMES);
    let mut named: Vec<String> =
        named.map(|(name, groups)| format!("{name} ({})", groups.join(", "))).collect();
    if found.len() > MAX_NAMES {
        named.push(format!("{} more", found.len().saturating_sub(MAX_NAMES)));
    }
    let sentence = format!(
        "among those who may have servers are members of powerful groups, through whom whoever takes the Hub \
         over becomes root: {}; targets.deny_groups of the policy keeps them out",
        named.join(", ")
    );
    let area = if scene.mode == Mode::Root { Area::Policy } else { Area::Sudo };
    let remedy = deny(scene, &groups);
    (!found.is_empty()).then(|| Finding::warning(area, "becomes_root", sentence, remedy))
}

/// Groups of the policy's `deny_groups` that the account database does not know. Each refuses every call.
pub fn look_at_denied(policy: &Policy) -> Vec<Finding> {
    let groups = policy.targets.deny_groups.iter();
    let unknown = groups.filter(|name| find_group(name).is_ok_and(|group| group.is_none()));
    let explain = |name: &String| {
        let sentence = format!(
            "every call is refused: targets.deny_groups names {name}, and there is no such group"
        );
        let (sentence, remedy) = match name_directories("group") {
            None => (sentence, remove_denied(name)),
            Some(directories) => (
                format!("{sentence}, or {directories} does not answer"),
                format!("getent group {}", quote(name)),
            ),
        };
        Finding::problem(Area::Policy, "targets_group", sentence, remedy)
    };
    unknown.map(explain).collect()
}

/// The groups that the policy denies, in either mode.
fn list_denied(scene: &Scene) -> &[String] {
    scene.policy.as_ref().map(|policy| policy.targets.deny_groups.as_slice()).unwrap_or_default()
}

/// The command that denies groups. A policy that is not there would have more effects than this one.
fn deny(scene: &Scene, groups: &[&str]) -> Option<String> {
    scene.policy.as_ref()?;
    Some(add_to_list(&scene.policy_text, "targets", "deny_groups", groups))
}

/// The command that takes a group out of `deny_groups`, however many lines the list has.
fn remove_denied(group: &str) -> String {
    let mut pattern = String::new();
    for character in group.chars() {
        if ".[]*^$\\|".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    let script =
        format!("/^ *deny_groups *=/{{:a;/]/!{{N;ba;}};s|[\"']{pattern}[\"'] *,\\{{0,1\\}}||}}");
    format!("sed -i {} {POLICY_PATH}", quote(script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_taken_out_by_its_exact_name() {
        let command = remove_denied("a.b");
        assert!(command.contains(r"a\.b"), "{command}");
    }
}
