//! The policy file: whether it is root's alone, what it says, and whether the Hub may call root mode.

use std::path::Path;

use super::accounts::{find_by_name, find_group};
use super::directory::name_directories;
use super::finding::{Area, Finding};
use super::policy_file::read_from;
use super::remedy::{quote, restore_trust};
use super::scene::{Scene, Viewpoint};
use super::viewpoint::report;
use ground::control_group::Limit;
use root::policy::file::{Launcher, Policy};
use root::policy::reading::POLICY_PATH;
use root::trusted_file::{Distrust, open_trusted};
use target::mode::Mode;

/// Looks at the file and its contents.
pub fn look(scene: &Scene) -> Vec<Finding> {
    let mut findings = report(Area::Policy, Path::new(POLICY_PATH), || vec![look_at_file(scene)]);
    if let Some(policy) = &scene.policy {
        findings.extend(judge(scene, &scene.policy_text, policy));
    }
    findings
}

fn look_at_file(scene: &Scene) -> Finding {
    match open_trusted(Path::new(POLICY_PATH)) {
        Err(Distrust::Missing(_)) => explain_missing(scene),
        Err(Distrust::Closed(path, errno)) => explain_closed(scene, &path, &errno.to_string()),
        Err(distrust) => {
            let sentence = format!(
                "every call is refused for the policy, look at what is in it first: {distrust}"
            );
            let remedy = restore_trust(&distrust).unwrap_or_default();
            Finding::problem(Area::Policy, "policy_untrusted", sentence, remedy)
        }
        Ok((file, _)) => match read_from(file).and_then(|text| Policy::parse(&text)) {
            Err(reason) => explain_malformed(&reason),
            Ok(_) => {
                let sentence = format!("{POLICY_PATH} is in force");
                Finding::ok(Area::Policy, "policy_malformed", sentence)
            }
        },
    }
}

fn explain_missing(scene: &Scene) -> Finding {
    if scene.mode == Mode::User {
        let sentence = format!("there is no {POLICY_PATH}, which user mode does not need");
        return Finding::ok(Area::Policy, "policy_missing", sentence);
    }
    let sentence = format!("root mode needs {POLICY_PATH}, which does not exist");
    let hub = scene.hub.as_ref().map_or("rhea", |hub| hub.name.as_str());
    let remedy = format!(
        "mkdir -p -m 0755 /etc/sudospawner && {} policy | sed {} >{POLICY_PATH}",
        quote(&scene.own),
        quote(format!("s/\"rhea\"/\"{hub}\"/"))
    );
    Finding::problem(Area::Policy, "policy_missing", sentence, remedy)
}

fn explain_closed(scene: &Scene, path: &Path, errno: &str) -> Finding {
    let sentence = format!("{} cannot be opened by this account: {errno}", path.display());
    if scene.mode == Mode::Root || scene.viewpoint == Viewpoint::Root {
        return Finding::warning(Area::Policy, "policy_unseen", sentence, None);
    }
    Finding::problem(Area::Policy, "policy_unreadable", sentence, open_to_all())
}

/// In user mode the target reads the policy, so everyone has to be able to.
pub fn open_to_all() -> String {
    let folder = Path::new(POLICY_PATH).parent().unwrap_or(Path::new("/")).display();
    format!("chmod 0755 {folder} && chmod 0644 {POLICY_PATH}")
}

fn explain_malformed(reason: &str) -> Finding {
    let sentence = format!("every call is refused for the policy: {POLICY_PATH}, {reason}");
    let remedy = match find_mistake(reason) {
        Some(address) => format!("sed -i '{address}s/^/# /' {POLICY_PATH}"),
        None => format!("mv {POLICY_PATH} {POLICY_PATH}.broken"),
    };
    Finding::problem(Area::Policy, "policy_malformed", sentence, remedy)
}

/// Where sed(1) finds the line that a sentence is about: by its number, or by its key.
fn find_mistake(reason: &str) -> Option<String> {
    if let Some(rest) = reason.strip_prefix("line ") {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return Some(digits).filter(|digits| !digits.is_empty());
    }
    let key = reason.split(' ').next()?.rsplit('.').next()?;
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    (is_key && reason.contains('.')).then(|| format!("/^ *{key} *=/"))
}

/// What a readable policy means for this Hub.
fn judge(scene: &Scene, text: &str, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    if scene.mode == Mode::User {
        return findings;
    }
    if let Some(hub) = &scene.hub
        && !policy.hub_users.contains(&hub.name)
        && !hub.uid.is_root()
    {
        let sentence = format!("hub_users does not name {}: every call is refused", hub.name);
        let remedy = add_to_list(text, "", "hub_users", &[&hub.name]);
        findings.push(Finding::problem(Area::Policy, "hub_users", sentence, remedy));
    }
    if policy.targets.groups.is_empty() && policy.targets.users.is_empty() {
        let sentence = "[targets] names nobody: no one may have a server";
        let remedy = add_to_list(text, "targets", "groups", &["jupyterhub"]);
        findings.push(Finding::problem(Area::Policy, "targets", sentence, remedy));
    }
    for name in &policy.targets.users {
        if find_by_name(name) == Ok(None) {
            let sentence = format!("targets.users names {name}, and there is no such account");
            findings.push(Finding::warning(Area::Policy, "targets", sentence, None));
        }
    }
    for name in &policy.targets.groups {
        if find_group(name).is_ok_and(|group| group.is_none()) {
            let sentence = format!("targets.groups names {name}, and there is no such group");
            let (sentence, remedy) = match name_directories("group") {
                None => (sentence, format!("groupadd {}", quote(name))),
                Some(directories) => (
                    format!("{sentence}, or {directories} does not answer"),
                    format!("getent group {}", quote(name)),
                ),
            };
            findings.push(Finding::problem(Area::Policy, "targets_group", sentence, remedy));
        }
    }
    findings.extend(judge_limits(policy));
    findings
}

/// Limits of a server as a whole that nothing holds it to.
fn judge_limits(policy: &Policy) -> Option<Finding> {
    let code = "limit_not_enforceable";
    let limits = &policy.limits;
    let mut set = [
        (Limit::Memory, limits.memory.is_some()),
        (Limit::Cpus, limits.cpus.is_some()),
        (Limit::Tasks, limits.tasks.is_some()),
    ]
    .into_iter()
    .filter_map(|(limit, is_set)| is_set.then_some(limit));
    let sentence = match policy.server.launcher {
        Launcher::Process => {
            set.next()?;
            "[limits] sets memory, cpus or tasks, which the launcher \"process\" cannot enforce: no \
             server is started"
                .to_owned()
        }
        Launcher::Slurm => {
            set.next()?;
            "[limits] sets memory, cpus or tasks, and the launcher \"slurm\" has its limits in profiles: \
             no server is started"
                .to_owned()
        }
        Launcher::Systemd => {
            let limit = set.find(|limit| !limit.has_controller())?;
            format!(
                "[limits] sets {}, and the kernel offers systemd no controller for it: no server is \
                 started",
                limit.key()
            )
        }
    };
    let remedy = format!("sed -i -E '/^ *(memory|cpus|tasks) *=/s/^/# /' {POLICY_PATH}");
    Some(Finding::problem(Area::Policy, code, sentence, remedy))
}

/// Adds strings to a list of the policy.
pub fn add_to_list(text: &str, section: &str, key: &str, values: &[&str]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
    let values = values.join(", ");
    if has_key(text, section, key) {
        let script = format!("/^ *{key} *= *\\[/s/\\[/[{values}, /");
        return format!("sed -i {} {POLICY_PATH}", quote(script));
    }
    set_key(text, section, key, &format!("[{values}]"))
}

/// Sets a key of the policy: in place, below its section's header, or at the end.
pub fn set_key(text: &str, section: &str, key: &str, value: &str) -> String {
    let header = format!("[{section}]");
    let script = if has_key(text, section, key) {
        format!("s|^ *{key} *=.*|{key} = {value}|")
    } else if section.is_empty() {
        format!("1i {key} = {value}")
    } else if text.lines().any(|line| line.trim() == header) {
        format!("/^ *\\[{section}\\]/a {key} = {value}")
    } else {
        let lines = quote(format!("\n{header}\n{key} = {value}\n"));
        return format!("printf %s {lines} >>{POLICY_PATH}");
    };
    format!("sed -i {} {POLICY_PATH}", quote(script))
}

fn has_key(text: &str, section: &str, key: &str) -> bool {
    let mut current = "";
    text.lines().any(|line| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            current = name;
        }
        current == section && line.split_once('=').is_some_and(|(name, _)| name.trim() == key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_mistake_is_found_by_number_or_key() {
        assert_eq!(find_mistake("line 3: unknown field `x`"), Some("3".to_owned()));
        let reason = "targets.min_uid has to be at least 1: root is never a target";
        assert_eq!(find_mistake(reason), Some("/^ *min_uid *=/".to_owned()));
        assert_eq!(find_mistake("it is larger than 65536 bytes"), None);
        let reason = "limits.rlimits has an unknown name: \"x'; reboot\"";
        assert_eq!(find_mistake(reason), Some("/^ *rlimits *=/".to_owned()));
    }

    #[test]
    fn a_key_is_set_where_it_stands_or_where_it_belongs() {
        let text = "hub_users = []\n[targets]\ngroups = [\"a\"]\n";
        let set = |section, key| set_key(text, section, key, "7");
        assert!(set("targets", "groups").contains("s|^ *groups"));
        assert!(set("targets", "min_uid").contains("/a min_uid = 7"));
        assert!(set("limits", "tasks").starts_with("printf"));
        assert!(set("", "other").contains("1i other"));
        assert!(add_to_list(text, "targets", "groups", &["b"]).contains("s/\\[/[\"b\", /"));
    }
}
