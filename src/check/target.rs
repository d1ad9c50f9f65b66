//! An account that is to have a server: as the account database has it, and as it sees the machine itself.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Group, access, chdir, getuid};

use super::commands::ask;
use super::finding::{Area, Finding, Level};
use super::policy::{self, set_key};
use super::remedy::quote;
use super::scene::{Scene, Viewpoint, server_directory};
use super::server;
use super::viewpoint::look_as;
use crate::account::Account;
use crate::policy::Mode;
use crate::policy::file::{PATH, Policy};
use crate::trusted_file::{Distrust, open_trusted};

/// Looks at every account that is asked about.
pub fn look(scene: &Scene) -> Vec<Finding> {
    if scene.targets.is_empty() {
        let sentence = "the rules permit no account that could be looked at: name one with --user";
        return vec![Finding::warning(Area::Target, "target", sentence, None)];
    }
    scene.targets.iter().flat_map(|name| look_at(scene, name)).collect()
}

fn look_at(scene: &Scene, name: &str) -> Vec<Finding> {
    let Some(account) = Account::by_name(name) else {
        let sentence = format!("there is no account named {name}");
        let group = scene.permitted_groups().into_iter().next();
        let groups = group.map(|group| format!("--groups {} ", quote(group))).unwrap_or_default();
        let remedy = format!("useradd --create-home {groups}{}", quote(name));
        return vec![Finding::problem(Area::Target, "target_unknown", sentence, remedy)];
    };
    let mut findings = look_from_outside(scene, &account);
    let inside = match (scene.viewpoint, scene.mode) {
        _ if account.uid.is_root() => Vec::new(),
        (Viewpoint::Root, mode) => {
            look_as(&account, || look_from_inside(mode, scene.policy.as_ref())).unwrap_or_default()
        }
        (_, mode) if account.uid == getuid() => look_from_inside(mode, scene.policy.as_ref()),
        (Viewpoint::Hub, Mode::User) => look_through_sudo(scene, name),
        _ => {
            let sentence = format!(
                "only root and {name} see what {name} can execute: run `sudospawner check` as root, too"
            );
            vec![Finding::ok(Area::Target, "target_unseen", sentence)]
        }
    };
    findings.extend(inside);
    findings
}

/// Asks the mediator itself to look, as the Hub would call it: it is all that sudo permits.
fn look_through_sudo(scene: &Scene, name: &str) -> Vec<Finding> {
    let own = scene.own.to_string_lossy();
    let words = ["-nH", "-u", name, &own, "check", "--self", "--json"];
    let Some(answer) = ask("sudo", &words, "") else { return Vec::new() };
    // A refusal of sudo's is explained by the real call.
    let Ok(told) = serde_json::from_str::<Told>(&answer.output) else { return Vec::new() };
    let remedy = format!("{} check --user {}", quote(&scene.own), quote(name));
    told.findings.iter().filter_map(|finding| doubt(finding, name, &remedy)).collect()
}

/// What the mediator told as the target.
#[derive(serde::Deserialize)]
struct Told {
    findings: Vec<Finding>,
}

/// The codes of what [`look_from_inside`] finds.
const FROM_INSIDE: [&str; 8] = [
    "home_missing",
    "home_closed",
    "policy_unreadable",
    "server_missing",
    "server_untrusted",
    "server_not_executable",
    "interpreter",
    "target_unknown",
];

/// The target could have had its own process say anything. So its words are shown as such, and a command
/// for root's shell is never taken from it: root gets that from a look of its own.
fn doubt(finding: &Finding, name: &str, remedy: &str) -> Option<Finding> {
    let code = FROM_INSIDE.into_iter().find(|code| *code == finding.code)?;
    let area = match finding.area {
        area @ (Area::Target | Area::Server | Area::Policy) => area,
        _ => return None,
    };
    let words: String = finding.sentence.chars().take(300).collect();
    Some(match finding.level {
        Level::Ok => Finding::ok(area, code, words),
        Level::Warning => Finding::warning(area, code, format!("as {name} sees it: {words}"), None),
        Level::Problem => {
            let sentence =
                format!("as {name} sees it: {words}; root's own look says what mends it");
            Finding::problem(area, code, sentence, remedy)
        }
    })
}

fn look_from_outside(scene: &Scene, account: &Account) -> Vec<Finding> {
    let Account { name, uid, .. } = account;
    let groups = list_groups(account);
    let sentence = format!("{name} has uid {uid} and is in {}", groups.join(", "));
    let mut findings = vec![Finding::ok(Area::Target, "target", sentence)];
    let problem = |code, sentence: String, remedy: String| {
        Finding::problem(Area::Target, code, sentence, remedy)
    };
    let user = quote(name);
    if uid.is_root() {
        let remedy = format!("{} check --user zoe", quote(&scene.own));
        let sentence = format!("{name} is root, who never has a server: ask about somebody else");
        return vec![problem("target_is_root", sentence, remedy)];
    }
    if let Some(policy) = &scene.policy {
        let least = policy.targets.min_uid;
        if uid.as_raw() < least {
            let text = fs::read_to_string(PATH).unwrap_or_default();
            let sentence = format!("the uid of {name}, {uid}, is below targets.min_uid, {least}");
            let remedy = set_key(&text, "targets", "min_uid", &uid.to_string());
            findings.push(problem("min_uid", sentence, remedy));
        }
        if scene.mode == Mode::Root {
            findings.extend(judge_by_policy(policy, account, &groups));
        }
    }
    if scene.hub.as_ref().is_some_and(|hub| hub.uid == *uid) {
        let sentence = format!("{name} is the Hub's own account, whose server could be the Hub");
        let remedy = format!("{} check --user zoe", quote(&scene.own));
        findings.push(match scene.mode {
            Mode::Root => problem("target_is_hub", sentence, remedy),
            Mode::User => Finding::warning(Area::Target, "target_is_hub", sentence, None),
        });
    }
    if account.is_closed() && scene.mode == Mode::User {
        let sentence = format!("the shell of {name} is {}", account.shell.display());
        let remedy = Some(format!("usermod --shell /bin/bash {user}"));
        findings.push(Finding::warning(Area::Target, "shell", sentence, remedy));
    }
    findings
}

fn judge_by_policy(policy: &Policy, account: &Account, groups: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (name, user) = (&account.name, quote(&account.name));
    let targets = &policy.targets;
    let is_member = targets.groups.iter().any(|group| groups.contains(group));
    if !is_member && !targets.users.contains(name) {
        let sentence = format!("the policy does not let {name} have a server");
        let remedy = match targets.groups.first() {
            Some(group) => format!("usermod --append --groups {} {user}", quote(group)),
            None => {
                let text = fs::read_to_string(PATH).unwrap_or_default();
                let mut users = targets.users.clone();
                users.push(name.clone());
                set_key(&text, "targets", "users", &format!("{users:?}"))
            }
        };
        findings.push(Finding::problem(Area::Target, "target_not_permitted", sentence, remedy));
    }
    if account.is_closed() && !targets.allow_nologin {
        let sentence = format!(
            "the shell of {name} is {}, which targets.allow_nologin does not permit",
            account.shell.display()
        );
        let remedy = format!("usermod --shell /bin/bash {user}");
        findings.push(Finding::problem(Area::Target, "shell", sentence, remedy));
    }
    findings
}

fn list_groups(account: &Account) -> Vec<String> {
    let groups = account.list_groups(account.gid).unwrap_or_default();
    let name_of = |gid| Group::from_gid(gid).ok().flatten().map(|group| group.name);
    groups.into_iter().filter_map(name_of).collect()
}

/// What this process, which is the target, sees: its home, the policy, the server executables.
pub fn look_from_inside(mode: Mode, policy: Option<&Policy>) -> Vec<Finding> {
    let Some(account) = Account::by_uid(getuid()) else {
        let sentence = format!("uid {} has no account", getuid());
        let remedy = format!("useradd --create-home --uid {} zoe", getuid());
        return vec![Finding::problem(Area::Target, "target_unknown", sentence, remedy)];
    };
    let mut findings = vec![look_at_home(&account, mode, policy)];
    if mode == Mode::User
        && let Err(Distrust::Closed(path, _)) = open_trusted(Path::new(PATH))
    {
        let sentence = format!("{} cannot read the policy: {}", account.name, path.display());
        findings.push(policy::explain_unreadable(&sentence));
        return findings;
    }
    let own = fs::read_link("/proc/self/exe").unwrap_or_default();
    let directory = server_directory(&own, policy);
    let is_named = policy.is_some_and(|policy| policy.server.directory.is_some());
    findings.extend(server::look(&directory, mode, is_named, &account.name));
    findings
}

fn look_at_home(account: &Account, mode: Mode, policy: Option<&Policy>) -> Finding {
    let (name, home) = (&account.name, account.home.as_path());
    let (shown, user, quoted) = (home.display(), quote(name), quote(home));
    let problem = |code, sentence, remedy| Finding::problem(Area::Target, code, sentence, remedy);
    match chdir(home) {
        Err(Errno::ENOENT) => {
            let sentence = format!("the home of {name}, {shown}, does not exist");
            let remedy =
                format!("mkdir -p -m 0700 {quoted} && chown {user}:{} {quoted}", account.gid);
            let has_hooks = mode == Mode::Root
                && policy.is_some_and(|policy| {
                    policy.hooks.dir.read_dir().is_ok_and(|mut dir| dir.next().is_some())
                });
            if has_hooks {
                let sentence = format!("{sentence}, unless a hook makes it");
                return Finding::warning(Area::Target, "home_missing", sentence, Some(remedy));
            }
            problem("home_missing", sentence, remedy)
        }
        Err(errno) => {
            let closed = crate::server::find_closed_directory(home);
            let remedy = match closed {
                Some(directory) => format!("chmod o+x {}", quote(directory)),
                None => format!("chown {user} {quoted} && chmod u+rwx {quoted}"),
            };
            let sentence = format!("{name} cannot enter its home {shown}: {}", errno.desc());
            problem("home_closed", sentence, remedy)
        }
        Ok(()) if access(home, AccessFlags::W_OK).is_err() => {
            let sentence = format!("{name} cannot write to its home {shown}");
            let remedy = format!("chown {user} {quoted} && chmod u+rwx {quoted}");
            problem("home_closed", sentence, remedy)
        }
        Ok(()) => {
            Finding::ok(Area::Target, "home_missing", format!("{name} is at home in {shown}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_for_root_is_never_taken_from_a_target() {
        let told = Finding::problem(Area::Server, "interpreter", "x\u{1b}[2J", "rm -rf /");
        let shown = doubt(&told, "zoe", "look").unwrap();
        assert_eq!(shown.remedy.as_deref(), Some("look"));
        assert!(shown.sentence.starts_with("as zoe sees it: "));
        let told =
            Finding::warning(Area::Server, "server_untrusted", "x", Some("reboot".to_owned()));
        assert_eq!(doubt(&told, "zoe", "look").unwrap().remedy, None);
        let told = Finding::problem(Area::Sudo, "interpreter", "x", "reboot");
        assert_eq!(doubt(&told, "zoe", "look"), None);
        let told = Finding::problem(Area::Server, "sudo_refuses", "x", "reboot");
        assert_eq!(doubt(&told, "zoe", "look"), None);
    }
}
