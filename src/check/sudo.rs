//! sudo: whether it lets the Hub call the mediator and nothing else, whether it would keep tokens on
//! record, and what really comes of a call.

use std::path::Path;

use super::commands::{Answer, ask};
use super::finding::{Area, Finding, Level};
use super::hub::read_status_field;
use super::remedy::{mend_as_owner, quote};
use super::scene::{Scene, Viewpoint};
use super::sudo_listing::Entry;
use super::sudo_refusal::{Refusal, find_broken_file};
use super::viewpoint::look_as;
use crate::account::Account;
use crate::policy::Mode;
use crate::sudoers_fragment::{Dialect, Fragment, Whom};

/// A request that does nothing: there is no process with this pid, since the kernel gives none above
/// 2^22, proc(5).
const HARMLESS: &str = r#"{"action":"kill","pid":2147483647,"signal":0}"#;

/// Looks at rules and settings, from sudo's own list of them.
pub fn look(scene: &Scene) -> Vec<Finding> {
    let own = scene.own.as_path();
    let mut findings = vec![look_at_version()];
    let Some(hub) = &scene.hub else { return findings };
    if scene.viewpoint == Viewpoint::Other {
        let sentence = format!("only {} and root can look at the rules of {}", hub.name, hub.name);
        findings.push(Finding::warning(Area::Sudo, "sudo_unseen", sentence, None));
        return findings;
    }
    if let Some(file) = find_broken_file(&scene.listing.complaint) {
        findings.push(explain_broken_file(&file, scene));
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
    let is_listed = scene.listing.complaint.is_empty()
        || Refusal::read(&scene.listing.complaint) == Refusal::NotPermitted;
    let is_named = scene.listing.entries.iter().any(|entry| entry.names(own));
    if scene.targets.is_empty() && is_listed && !is_named {
        // With a target, a real call tells the same, and more.
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

fn look_at_version() -> Finding {
    let version = read_version();
    let version = version.as_deref().unwrap_or("sudo does not say its version");
    Finding::ok(Area::Sudo, "sudo_version", version)
}

fn read_version() -> Option<String> {
    ask("sudo", &["--version"], "")?.output.lines().next().map(ToOwned::to_owned)
}

/// Which sudo this machine has.
pub fn find_dialect() -> Dialect {
    let version = read_version().unwrap_or_default();
    if version.starts_with("sudo-rs") { Dialect::SudoRs } else { Dialect::Sudo }
}

/// The command that installs the rules which this Hub needs.
fn install_rules(scene: &Scene) -> String {
    let hub_user = scene.hub.as_ref().map_or("rhea", |hub| hub.name.as_str()).to_owned();
    let groups = scene.permitted_groups();
    let mut users = scene.listing.target_users(&scene.own);
    users.extend(
        scene.targets.iter().filter(|target| !users.contains(target)).cloned().collect::<Vec<_>>(),
    );
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
    let remedy = if said.contains("writable") {
        format!("chmod 0440 {file_quoted}")
    } else if said.contains(" owned by ") {
        format!("chown root:root {file_quoted}")
    } else if Path::new(file) == Path::new(crate::sudoers_fragment::PLACE) {
        install_rules(scene)
    } else if file == "/etc/sudoers" {
        "cp -a /etc/sudoers /etc/sudoers.broken && visudo".to_owned()
    } else {
        // sudo passes over files whose names have a dot.
        format!("mv {file_quoted} {}", quote(format!("{file}.broken")))
    };
    let sentence = format!("sudo cannot use one of its files: {said}");
    Finding::problem(Area::Sudo, "sudoers_broken", sentence, remedy)
}

/// Rules of the Hub's account for anything but the mediator, that need no password.
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

/// Comments out the rules of the Hub's account that do not name the mediator, or takes the account out of
/// the group that may do everything.
fn remove_rules(hub: &Account, file: Option<&str>, is_all: bool) -> String {
    let powerful = ["sudo", "wheel", "admin"].map(str::to_owned);
    let group = powerful.iter().find(|group| {
        nix::unistd::Group::from_name(group)
            .ok()
            .flatten()
            .is_some_and(|g| g.mem.contains(&hub.name))
    });
    if let (true, Some(group)) = (is_all, group) {
        return format!("gpasswd --delete {} {group}", quote(&hub.name));
    }
    let files = file.map_or_else(|| "/etc/sudoers $(ls -d /etc/sudoers.d/*)".to_owned(), quote);
    let keep = "/sudospawner|_CMD[[:blank:]]*$/!";
    format!("sed -i -E '/^{}[[:blank:]]/{{{keep}s/^/# /}}' {files} && visudo -c", hub.name)
}

/// Calls the mediator through sudo as the Hub does, and something that has to be refused.
/// `others` are the findings so far: a call that fails for their reason is no further problem.
pub fn call_really(scene: &Scene, others: &[Finding]) -> Vec<Finding> {
    let Some(hub) = scene.hub.as_ref().filter(|hub| !hub.uid.is_root()) else { return Vec::new() };
    let call = || call_as_hub(scene, hub, others);
    match scene.viewpoint {
        Viewpoint::Hub => call(),
        Viewpoint::Root => look_as(hub, call).unwrap_or_default(),
        Viewpoint::Other => Vec::new(),
    }
}

fn call_as_hub(scene: &Scene, hub: &Account, others: &[Finding]) -> Vec<Finding> {
    if read_status_field("/proc/self/status", "NoNewPrivs").as_deref() == Some("1") {
        // Said of the unit, or of this process.
        return Vec::new();
    }
    let explained = others.iter().any(|finding| finding.level == Level::Problem);
    let mut findings = Vec::new();
    for target in scene.targets.iter().filter(|target| Account::by_name(target).is_some()) {
        let own = scene.own.to_string_lossy();
        let asked = format!("--user={target}");
        let words: Vec<&str> = match scene.mode {
            Mode::User => vec!["-nH", "-u", target, &own, &asked, "--logging=none"],
            Mode::Root => vec!["-n", &own, &asked, "--logging=none"],
        };
        let Some(answer) = ask("sudo", &words, HARMLESS) else { continue };
        findings.push(judge_call(&answer, scene, hub, target, explained));
        let other = if scene.mode == Mode::Root { "root" } else { target.as_str() };
        if ask("sudo", &["-n", "-u", other, "true"], "").is_some_and(|answer| answer.success) {
            let sentence = format!("sudo lets {} run any command as {other}", hub.name);
            let remedy = remove_rules(hub, None, true);
            findings.push(Finding::problem(Area::Sudo, "sudo_runs_anything", sentence, remedy));
        } else {
            let sentence =
                format!("sudo lets {} run nothing else as {other}: `true` is refused", hub.name);
            findings.push(Finding::ok(Area::Sudo, "sudo_runs_anything", sentence));
        }
    }
    findings
}

fn judge_call(
    answer: &Answer,
    scene: &Scene,
    hub: &Account,
    target: &str,
    explained: bool,
) -> Finding {
    let code = "call";
    let reply = serde_json::from_str::<serde_json::Value>(answer.output.trim()).ok();
    if let Some(reply) = reply {
        if reply.get("ok").and_then(serde_json::Value::as_bool) == Some(true) {
            let sentence = format!("a real call as {} for {target} was answered", hub.name);
            return Finding::ok(Area::Sudo, code, sentence);
        }
        let error = reply.get("error").and_then(serde_json::Value::as_str).unwrap_or("no reason");
        let sentence = format!("a real call for {target} was refused by the mediator: {error}");
        // What it refuses for is looked at elsewhere, each with its own remedy.
        if explained {
            return Finding::warning(Area::Sudo, code, sentence, None);
        }
        let remedy = format!("{} check --user {target}", quote(&scene.own));
        return Finding::problem(Area::Sudo, code, sentence, remedy);
    }
    explain_refusal(&Refusal::read(&answer.complaint), answer, scene, target)
}

fn explain_refusal(refusal: &Refusal, answer: &Answer, scene: &Scene, target: &str) -> Finding {
    let said = answer.complaint.trim();
    let own = quote(&scene.own);
    let problem = |code, sentence: String, remedy: String| {
        Finding::problem(Area::Sudo, code, format!("{sentence}; sudo said: {said}"), remedy)
    };
    match refusal {
        Refusal::NotExecutable => {
            let sentence = format!("{target} cannot execute {own}");
            problem("binary_closed", sentence, open_way_to(&scene.own))
        }
        Refusal::Broken(file) => explain_broken_file(file, scene),
        Refusal::UnknownTarget => {
            let sentence = format!("sudo knows no account {target}");
            problem("target_unknown", sentence, format!("useradd --create-home {}", quote(target)))
        }
        Refusal::Account => {
            let hub = scene.hub.as_ref().map_or("rhea", |hub| hub.name.as_str());
            let sentence = format!("PAM does not let {hub} use sudo");
            problem("hub_account", sentence, format!("chage --expiredate -1 {hub}"))
        }
        Refusal::Terminal => {
            let sentence = "sudo wants a terminal, which the Hub does not have (requiretty)";
            problem("requiretty", sentence.to_owned(), install_rules(scene))
        }
        _ => {
            let hub = scene.hub.as_ref().map_or("the Hub", |hub| hub.name.as_str());
            let run_as = if scene.mode == Mode::Root { "root" } else { target };
            let sentence =
                format!("sudo does not let {hub} run {own} as {run_as} without a password");
            let remedy = match find_group_to_join(scene) {
                Some(group) => format!("usermod --append --groups {group} {}", quote(target)),
                None => install_rules(scene),
            };
            problem("sudo_refuses", sentence, remedy)
        }
    }
}

/// In user mode, the group of a rule that is as it should be: what is refused is then the target alone.
fn find_group_to_join(scene: &Scene) -> Option<String> {
    let is_good = |entry: &&Entry| entry.names(&scene.own) && entry.is_free();
    let mut words = scene.listing.entries.iter().filter(is_good).flat_map(|entry| &entry.run_as);
    let group = words.find_map(|word| word.strip_prefix('%'))?;
    (scene.mode == Mode::User).then(|| quote(group))
}

/// Opens the first directory on the way that is closed to others, or the file.
fn open_way_to(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let is_closed = |directory: &&Path| {
        std::fs::metadata(directory).is_ok_and(|directory| directory.mode() & 0o001 == 0)
    };
    let above: Vec<&Path> = path.ancestors().skip(1).collect();
    match above.into_iter().rev().find(is_closed) {
        Some(directory) => mend_as_owner(directory, &format!("chmod o+x {}", quote(directory))),
        None => mend_as_owner(path, &format!("chmod a+rx {}", quote(path))),
    }
}
