//! An account that should have a server: its entry in the account database, and what it sees of the machine.

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Gid, access, chdir, getuid};

use super::accounts::{find_own, say_silent};
use super::apart::Silence;
use super::commands::ask;
use super::directory::name_directories;
use super::enrolment::is_made;
use super::finding::{Area, Finding};
use super::hearsay::{Told, accept};
use super::mending::find_remedy;
use super::policy::set_key;
use super::policy_file;
use super::powerful;
use super::remedy::quote;
use super::scene::{Asked, Scene, Viewpoint, server_directory};
use super::server;
use super::viewpoint::{LIMIT, look_apart, look_as, look_at, name_mount};
use crate::mediator::find_mediator;
use root::account::Account;
use root::policy::file::{Launcher, Policy};
use root::policy::reading::POLICY_PATH;
use root::trusted_file::{Distrust, open_trusted};
use target::mode::Mode;

/// How long an account's look may take, of which its home and its servers may take the usual time each.
const LIMIT_IN_ALL: Duration = LIMIT.saturating_mul(3);

/// Looks at every account that is asked about.
pub fn look(scene: &Scene) -> Vec<Finding> {
    if scene.targets.is_empty() {
        let sentence = "the rules permit no account that could be looked at: name one with --user";
        return vec![Finding::warning(Area::Target, "target", sentence, None)];
    }
    scene.targets.iter().flat_map(|asked| look_at_account(scene, asked)).collect()
}

fn look_at_account(scene: &Scene, asked: &Asked) -> Vec<Finding> {
    let name = asked.name.as_str();
    let account = match &asked.account {
        Ok(Some(account)) => account.clone(),
        Ok(None) => return vec![explain_missing(scene, name)],
        Err(silence) => return vec![say_silent(Area::Target, silence, "passwd")],
    };
    let mut findings = look_from_outside(scene, &account, &asked.groups);
    findings.extend(powerful::judge(scene, asked));
    if let Err(silence) = &asked.groups {
        // Without its groups no process can become the account.
        findings.push(say_silent(Area::Target, silence, "group"));
        return findings;
    }
    if account.uid.is_root() {
        return findings;
    }
    let told = match (scene.viewpoint, scene.mode) {
        (Viewpoint::Root, mode) => look_as(&account, LIMIT_IN_ALL, || {
            look_from_inside(&account, mode, scene.policy.as_ref())
        }),
        (_, mode) if account.uid == getuid() => {
            Ok(look_from_inside(&account, mode, scene.policy.as_ref()))
        }
        (Viewpoint::Hub, Mode::User) => ask_through_sudo(scene, name),
        _ => {
            let sentence = format!(
                "only root and {name} see what {name} can execute: run `sudospawner check` as root, too"
            );
            findings.push(Finding::ok(Area::Target, "target_unseen", sentence));
            return findings;
        }
    };
    match told {
        Ok(told) => findings.extend(accept(&told, name, &look_again(&scene.own, name), |code| {
            if scene.viewpoint != Viewpoint::Root {
                return None;
            }
            // What is closed to the account may hang for root.
            let remedy = look_apart("root", LIMIT, || Some(find_remedy(code, &account, scene)));
            remedy.unwrap_or_else(|_| find_remedy("home_unresponsive", &account, scene))
        })),
        Err(silence) => {
            let sentence = format!("{silence}: what {name} sees is not known");
            findings.push(Finding::warning(Area::Target, "target_unseen", sentence, None));
        }
    }
    findings
}

/// A directory may only not answer. A local account of the name would then be another account.
fn explain_missing(scene: &Scene, name: &str) -> Finding {
    let mut policy = scene.policy.iter().filter(|_| scene.mode == Mode::Root);
    if policy.any(|policy| is_made(policy, name)) {
        let sentence = format!("there is no account named {name}, and accounts.create makes it");
        return Finding::ok(Area::Target, "target_unknown", sentence);
    }
    let user = quote(name);
    let (sentence, remedy) = match name_directories("passwd") {
        None => {
            let group = scene.permitted_groups().into_iter().next();
            let groups = group.map(|group| format!("--groups {} ", quote(group)));
            let remedy = format!("useradd --create-home {}{user}", groups.unwrap_or_default());
            (format!("there is no account named {name}"), remedy)
        }
        Some(directories) => {
            let known = format!("the account database has no account named {name}");
            (format!("{known}, or {directories} does not answer"), format!("id -- {user}"))
        }
    };
    Finding::problem(Area::Target, "target_unknown", sentence, remedy)
}

/// The command for root's own look.
pub fn look_again(own: &Path, name: &str) -> String {
    format!("{} check --user {}", quote(own), quote(name))
}

/// Asks the mediator itself to look, called as the Hub calls it. sudo permits nothing else.
fn ask_through_sudo(scene: &Scene, name: &str) -> Result<Vec<Told>, Silence> {
    /// What the mediator answers.
    #[derive(serde::Deserialize)]
    struct Answered {
        findings: Vec<Told>,
    }
    let own = scene.own.to_string_lossy();
    let answer = ask("sudo", &["-nH", "-u", name, &own, "check", "--self", "--json"])?;
    // If sudo refuses, the real call explains it.
    let answered = serde_json::from_str::<Answered>(&answer.output);
    Ok(answered.map(|answered| answered.findings).unwrap_or_default())
}

/// Looks at what concerns this process's own account. This is `check --self`.
pub fn look_at_self(mode: Mode) -> Vec<Finding> {
    let (_, policy) = policy_file::read();
    let own = find_mediator();
    let account = match find_own() {
        Ok(Some(account)) => account,
        Ok(None) => {
            let sentence = format!("uid {} has no account", getuid());
            let told = [Told::problem("target_unknown", sentence)];
            let name = getuid().to_string();
            return accept(&told, &name, &look_again(&own, &name), |_| None);
        }
        Err(silence) => return vec![say_silent(Area::Target, &silence, "passwd")],
    };
    let name = &account.name;
    let told = look_from_inside(&account, mode, policy.as_ref());
    accept(&told, name, &look_again(&own, name), |_| None)
}

fn look_from_outside(
    scene: &Scene,
    account: &Account,
    groups: &Result<Vec<(Gid, Option<String>)>, Silence>,
) -> Vec<Finding> {
    let Account { name, uid, .. } = account;
    let groups = groups
        .as_ref()
        .map(|groups| groups.iter().filter_map(|(_, name)| name.clone()).collect::<Vec<String>>());
    let sentence = match &groups {
        Ok(groups) => format!("{name} has uid {uid} and is in {}", groups.join(", ")),
        Err(_) => format!("{name} has uid {uid}"),
    };
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
            let sentence = format!("the uid of {name}, {uid}, is below targets.min_uid, {least}");
            let remedy = set_key(&scene.policy_text, "targets", "min_uid", &uid.to_string());
            findings.push(problem("min_uid", sentence, remedy));
        }
        if scene.mode == Mode::Root {
            let groups = groups.as_deref().ok();
            findings.extend(judge_by_policy(policy, &scene.policy_text, account, groups));
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

fn judge_by_policy(
    policy: &Policy,
    text: &str,
    account: &Account,
    groups: Option<&[String]>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (name, user) = (&account.name, quote(&account.name));
    let targets = &policy.targets;
    let may_be_member =
        groups.is_none_or(|groups| targets.groups.iter().any(|group| groups.contains(group)));
    if !may_be_member && !targets.users.contains(name) {
        let sentence = format!("the policy does not let {name} have a server");
        let remedy = match targets.groups.first() {
            Some(group) => format!("usermod --append --groups {} {user}", quote(group)),
            None => {
                let mut users = targets.users.clone();
                users.push(name.clone());
                set_key(text, "targets", "users", &format!("{users:?}"))
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

/// What this process, as the target, sees: its home, the policy, the mediator, the server executables.
fn look_from_inside(account: &Account, mode: Mode, policy: Option<&Policy>) -> Vec<Told> {
    let name = &account.name;
    let own = find_mediator();
    // The home may be on a file server that does not answer. The rest has to be seen all the same.
    let shown = format!("the home of {name}, {},", account.home.display());
    let home = look_apart(&shown, LIMIT, || Some(look_at_home(account, mode, policy)));
    let mut told = vec![home.unwrap_or_else(|silence| {
        let Silence(sentence) = name_mount(silence, &account.home);
        let sentence = format!("{sentence}; its file server or automounter hangs");
        Told::problem("home_unresponsive", sentence)
    })];
    if mode == Mode::User {
        if access(&own, AccessFlags::X_OK).is_err() {
            let sentence = format!("{name} cannot execute {}", own.display());
            told.push(Told::problem("binary_closed", sentence));
        }
        if let Err(Distrust::Closed(path, _)) = open_trusted(Path::new(POLICY_PATH)) {
            let sentence = format!("{name} cannot read the policy: {}", path.display());
            told.push(Told::problem("policy_unreadable", sentence));
            return told;
        }
    }
    if policy.is_some_and(|policy| policy.server.launcher == Launcher::Slurm) {
        // The servers are on the nodes.
        return told;
    }
    let directory = server_directory(&own, policy);
    let is_named = policy.is_some_and(|policy| policy.server.directory.is_some());
    let servers = look_at(&directory, || server::look(&directory, mode, is_named, name));
    told.extend(servers.unwrap_or_else(|silence| {
        let sentence = format!("{silence}: no server can be started");
        vec![Told::problem("server_unresponsive", sentence)]
    }));
    told
}

fn look_at_home(account: &Account, mode: Mode, policy: Option<&Policy>) -> Told {
    let (name, home) = (&account.name, account.home.as_path());
    let shown = home.display();
    match chdir(home) {
        Err(Errno::ENOENT) => {
            let sentence = format!("the home of {name}, {shown}, does not exist");
            let has_hooks = mode == Mode::Root
                && policy.is_some_and(|policy| {
                    policy.hooks.dir.read_dir().is_ok_and(|mut dir| dir.next().is_some())
                });
            if has_hooks {
                return Told::warning(
                    "home_missing",
                    format!("{sentence}, unless a hook makes it"),
                );
            }
            Told::problem("home_missing", sentence)
        }
        Err(errno) => {
            let sentence = format!("{name} cannot enter its home {shown}: {}", errno.desc());
            Told::problem("home_closed", sentence)
        }
        Ok(()) if access(home, AccessFlags::W_OK).is_err() => {
            Told::problem("home_closed", format!("{name} cannot write to its home {shown}"))
        }
        Ok(()) => Told::ok("home_missing", format!("{name} is at home in {shown}")),
    }
}
