//! sudo: whether it lets the Hub call the mediator and nothing else, whether it would record tokens, and what
//! a real call results in.

use std::path::Path;

use super::accounts::find_group;
use super::commands::ask;
use super::finding::{Area, Finding};
use super::hearsay::show_words;
use super::remedy::quote;
use super::scene::{Scene, Viewpoint};
use super::sudo_listing::Entry;
use super::sudo_refusal::{Refusal, find_broken_file, find_unnamed_file, is_usual_file};
use crate::sudoers_fragment::{Fragment, Whom};
use crate::sudoers_name::Dialect;
use root::account::Account;
use target::mode::Mode;

/// The files that /etc/sudoers includes, for a shell.
const INCLUDED: &str = "$(ls -d /etc/sudoers.d/*)";

/// Looks at rules and settings, using sudo's own list.
pub fn look(scene: &Scene) -> Vec<Finding> {
    let own = scene.own.as_path();
    let mut findings = vec![look_at_version(scene)];
    let Some(hub) = &scene.hub else { return findings };
    if scene.viewpoint == Viewpoint::Other {
        let sentence = format!("only {} and root can look at the rules of {}", hub.name, hub.name);
        findings.push(Finding::warning(Area::Sudo, "sudo_unseen", sentence, None));
        return findings;
    }
    if let Some(silence) = &scene.listing.silence {
        let sentence = format!("{silence}: the rules of {} are not known", hub.name);
        findings.push(Finding::warning(Area::Sudo, "sudo_unseen", sentence, None));
    }
    if let Some(file) = find_broken_file(&scene.listing.complaint) {
        findings.push(explain_broken_file(&file, scene));
    } else if let Some(line) = find_unnamed_file(&scene.listing.complaint) {
        findings.push(explain_unnamed_file(line));
    }
    let install = install_rules(scene);
    if scene.listing.is_on("requiretty", own) {
        let sentence = "sudo wants a terminal, which the Hub does not have (requiretty)";
        findings.push(Finding::problem(Area::Sudo, "requiretty", sentence, &install));
    }
    let mut ours = scene.listing.entries.iter().filter(|entry| entry.names(own));
    let is_recorded = |entry: &Entry| entry.options.iter().any(|option| option == "log_input");
    let has_switch = ["log_input", "log_stdin"].iter().any(|one| scene.listing.is_on(one, own));
    if has_switch || ours.any(is_recorded) {
        let sentence =
            "sudo records what the mediator reads (log_input), and so each server's token";
        findings.push(Finding::problem(Area::Sudo, "log_input", sentence, &install));
    } else if !scene.listing.entries.is_empty() {
        let sentence = "sudo does not record what the mediator reads";
        findings.push(Finding::ok(Area::Sudo, "log_input", sentence));
    }
    let is_listed = scene.listing.silence.is_none()
        && (scene.listing.complaint.is_empty()
            || Refusal::read(&scene.listing.complaint) == Refusal::NotPermitted);
    let is_named = scene.listing.entries.iter().any(|entry| entry.names(own));
    if scene.targets.is_empty() && is_listed && !is_named {
        // If there is a target, a real call shows the same and more.
        let sentence = format!("no rule lets {} call {}", hub.name, own.display());
        let remedy = format!("groupadd --force jupyterhub && {install}");
        findings.push(Finding::problem(Area::Sudo, "sudo_refuses", sentence, remedy));
    }
    if scene.listing.is_on("log_output", own) {
        let sentence = "sudo records what the mediator writes (log_output): replies without tokens, and \
                        the first lines of servers";
        findings.push(Finding::warning(Area::Sudo, "log_output", sentence, None));
    }
    if scene.listing.is_on("use_pty", own) {
        let sentence =
            "sudo gives the mediator a terminal of its own (use_pty), which servers survive";
        findings.push(Finding::ok(Area::Sudo, "use_pty", sentence));
    }
    findings.extend(look_for_other_rules(scene, hub));
    findings
}

fn look_at_version(scene: &Scene) -> Finding {
    // Even for its version, sudo asks for groups.
    let version = match &scene.hub_groups {
        Ok(_) => read_version(),
        Err(silence) => format!("sudo was not asked for its version: {silence}"),
    };
    Finding::ok(Area::Sudo, "sudo_version", version)
}

fn read_version() -> String {
    match ask("sudo", &["--version"]) {
        Ok(answer) => {
            // sudo-rs 0.2.5 says it on stderr.
            let version = answer.output.lines().chain(answer.complaint.lines()).next();
            version.unwrap_or("sudo does not say its version").to_owned()
        }
        Err(silence) => silence.to_string(),
    }
}

/// Which sudo this machine has.
pub fn find_dialect() -> Dialect {
    Dialect::of_version(&read_version())
}

/// The command that installs the rules for this Hub.
pub fn install_rules(scene: &Scene) -> String {
    let hub_user = scene.hub.as_ref().map_or("rhea", |hub| hub.name.as_str()).to_owned();
    let groups = scene.permitted_groups();
    let mut users = scene.listing.target_users(&scene.own);
    let others = scene.targets.iter().map(|asked| &asked.name);
    users.extend(others.filter(|name| !users.contains(name)).cloned().collect::<Vec<_>>());
    let whom = match (scene.mode, groups.first()) {
        (Mode::Root, _) => Whom::Root,
        (Mode::User, Some(group)) => Whom::Group(group.clone()),
        (Mode::User, None) if users.is_empty() => Whom::Group("jupyterhub".to_owned()),
        (Mode::User, None) => Whom::Users(users),
    };
    Fragment { program: scene.own.clone(), hub_user, whom, dialect: Dialect::Sudo }
        .install_command()
}

fn explain_broken_file(file: &str, scene: &Scene) -> Finding {
    let said = scene.listing.complaint.lines().find(|line| line.contains(file)).unwrap_or(file);
    let file_quoted = quote(file);
    let remedy = if !is_usual_file(file) {
        "visudo -c".to_owned()
    } else if said.contains("writable") {
        format!("chmod 0440 {file_quoted}")
    } else if said.contains(" owned by ") {
        format!("chown root:root {file_quoted}")
    } else if Path::new(file) == Path::new(crate::sudoers_fragment::PLACE) {
        install_rules(scene)
    } else if file == "/etc/sudoers" {
        "cp -a /etc/sudoers /etc/sudoers.broken && visudo".to_owned()
    } else {
        // sudo ignores files with a dot in their name.
        format!("mv {file_quoted} {}", quote(format!("{file}.broken")))
    };
    let sentence = format!("sudo cannot use one of its files: {}", show_words(said));
    Finding::problem(Area::Sudo, "sudoers_broken", sentence, remedy)
}

/// Every rules file can have the owner and mode that sudo wants, so the one need not be known.
fn explain_unnamed_file(line: &str) -> Finding {
    let sentence = format!(
        "sudo cannot use one of its files, which it does not name, for others could have written it; read the rules before you restore its owner and mode: {}",
        show_words(line)
    );
    let files = format!("/etc/sudoers {INCLUDED}");
    let remedy = format!("chown root:root {files} && chmod 0440 {files}");
    Finding::problem(Area::Sudo, "sudoers_broken", sentence, remedy)
}

/// Rules of the Hub's account that need no password and permit anything but the mediator.
fn look_for_other_rules(scene: &Scene, hub: &Account) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in scene.listing.entries.iter().filter(|entry| entry.is_free()) {
        let is_other = |command: &&String| {
            !command.starts_with('!') && Path::new(command) != scene.own.as_path()
        };
        let others: Vec<&str> =
            entry.commands.iter().filter(is_other).map(|command| command.as_str()).collect();
        if others.is_empty() {
            continue;
        }
        let is_all = others.contains(&"ALL");
        let sentence = format!(
            "{} may run {} as {} without a password, and so may whoever takes the Hub over",
            hub.name,
            others.join(", "),
            entry.run_as.join(", ")
        );
        let remedy = remove_rules(hub, entry.file.as_deref(), is_all);
        findings.push(match is_all {
            true => Finding::problem(Area::Sudo, "sudo_permits_all", sentence, remedy),
            false => Finding::warning(Area::Sudo, "sudo_permits_more", sentence, Some(remedy)),
        });
    }
    findings
}

/// Comments out the rules of the Hub's account that do not name the mediator, or takes the account out of the
/// group that may do everything.
pub fn remove_rules(hub: &Account, file: Option<&str>, is_all: bool) -> String {
    let powerful = ["sudo", "wheel", "admin"].map(str::to_owned);
    let group = powerful.iter().find(|group| {
        find_group(group).ok().flatten().is_some_and(|group| group.members.contains(&hub.name))
    });
    if let (true, Some(group)) = (is_all, group) {
        return format!("gpasswd --delete {} {group}", quote(&hub.name));
    }
    let file = file.filter(|file| is_usual_file(file));
    let files = file.map_or_else(|| format!("/etc/sudoers {INCLUDED}"), quote);
    let keep = "/sudospawner|_CMD[[:blank:]]*$/!";
    let script = format!("/^{}[[:blank:]]/{{{keep}s/^/# /}}", match_name(&hub.name));
    format!("sed -i -E {} {files} && visudo -c", quote(script))
}

/// A pattern of sed for a name, whether it stands in sudoers as it is, in quotes or with backslashes.
fn match_name(name: &str) -> String {
    let match_character = |character: char| match character {
        '\\' => r"\\{1,2}".to_owned(),
        '^' => r"\\?\^".to_owned(),
        '_' | '-' => character.to_string(),
        ' '..='~' if !character.is_ascii_alphanumeric() => format!(r"\\?[{character}]"),
        _ => character.to_string(),
    };
    let pattern: String = name.chars().map(match_character).collect();
    if pattern == name { pattern } else { format!("\"?{pattern}\"?") }
}
