//! A real call through sudo, made as the Hub makes it.
//!
//! The call starts a process of the target, which has the same stdout and stderr as sudo. So what is said
//! there decides only whether the call was answered. Why sudo refused is taken from sudo's own list, for
//! which no process of the target is started.

use super::apart::Silence;
use super::commands::{Answer, ask_as};
use super::finding::{Area, Finding, Level};
use super::hearsay::show_words;
use super::hub_program::read_status_field;
use super::remedy::quote;
use super::scene::{Asked, Scene, Viewpoint};
use super::sudo::{install_rules, remove_rules};
use super::sudo_listing::Entry;
use super::sudo_refusal::Refusal;
use super::target::look_again;
use root::account::Account;
use target::mode::Mode;

/// A request that does nothing: no process has this pid, since the kernel gives none above 2^22, proc(5).
pub const HARMLESS: &str = r#"{"action":"kill","pid":2147483647,"signal":0}"#;

/// Shows what sudo and the mediator have logged about a call.
const READ_LOG: &str =
    "journalctl --no-pager --boot --lines=50 --identifier=sudo --identifier=sudospawner";

/// Calls the mediator through sudo as the Hub does, and then makes a call that has to be refused. `others`
/// are the findings so far: if they explain why the call fails, that is not another problem.
pub fn call_really(scene: &Scene, others: &[Finding]) -> Vec<Finding> {
    let Some(hub) = scene.hub.as_ref().filter(|hub| !hub.uid.is_root()) else { return Vec::new() };
    let has_flag = read_status_field("/proc/self/status", "NoNewPrivs").as_deref() == Some("1");
    if scene.viewpoint == Viewpoint::Other || has_flag {
        // The flag is reported for the unit, or for this process.
        return Vec::new();
    }
    let is_explained = others.iter().any(|finding| finding.level == Level::Problem);
    let targets = scene.targets.iter().filter(|asked| matches!(asked.account, Ok(Some(_))));
    let call = |asked: &Asked| {
        // sudo asks for the groups of both accounts.
        match scene.hub_groups.as_ref().err().or(asked.groups.as_ref().err()) {
            Some(silence) => {
                let sentence = format!("no real call for {} was made: {silence}", asked.name);
                vec![Finding::warning(Area::Sudo, "call", sentence, None)]
            }
            None => call_for(scene, hub, &asked.name, is_explained),
        }
    };
    targets.flat_map(call).collect()
}

fn call_for(scene: &Scene, hub: &Account, target: &str, is_explained: bool) -> Vec<Finding> {
    let own = scene.own.to_string_lossy();
    let asked = format!("--user={target}");
    let call: &[&str] = &[&own, &asked, "--logging=none"];
    let become_whom: &[&str] = if scene.mode == Mode::Root { &[] } else { &["-u", target] };
    let words = [&["-nH"], become_whom, call].concat();
    let answer = match ask_as(Some(hub), "sudo", &words, HARMLESS) {
        Ok(answer) => answer,
        Err(silence) => return vec![explain_silence(&silence, target, is_explained)],
    };
    let list = [&["-n", "-l"], become_whom, call].concat();
    let finding = judge_answer(&answer, scene, hub, target, is_explained)
        .unwrap_or_else(|| explain_refusal(&answer, &list, scene, hub, target, is_explained));
    let mut findings = vec![finding];
    let other = if scene.mode == Mode::Root { "root" } else { target };
    findings.push(match ask_as(Some(hub), "sudo", &["-n", "-u", other, "true"], "") {
        Ok(answer) if answer.success => {
            let sentence = format!("sudo lets {} run any command as {other}", hub.name);
            let remedy = remove_rules(hub, None, true);
            Finding::problem(Area::Sudo, "sudo_runs_anything", sentence, remedy)
        }
        Ok(_) => {
            let sentence =
                format!("sudo lets {} run nothing else as {other}: `true` is refused", hub.name);
            Finding::ok(Area::Sudo, "sudo_runs_anything", sentence)
        }
        Err(silence) => {
            let sentence = format!("whether sudo runs anything as {other} is not known: {silence}");
            Finding::warning(Area::Sudo, "sudo_runs_anything", sentence, None)
        }
    });
    findings
}

fn explain_silence(silence: &Silence, target: &str, is_explained: bool) -> Finding {
    let sentence = format!("a real call for {target} was not answered: {silence}");
    say_failed(sentence, READ_LOG, is_explained)
}

/// Reports a failed call. Its cause may already be a finding with its own remedy.
fn say_failed(sentence: String, remedy: &str, is_explained: bool) -> Finding {
    let code = "call";
    if is_explained {
        return Finding::warning(Area::Sudo, code, sentence, None);
    }
    Finding::problem(Area::Sudo, code, sentence, remedy)
}

/// What the mediator answered; `None` if it did not answer.
fn judge_answer(
    answer: &Answer,
    scene: &Scene,
    hub: &Account,
    target: &str,
    is_explained: bool,
) -> Option<Finding> {
    let reply = serde_json::from_str::<serde_json::Value>(answer.output.trim()).ok()?;
    if reply.get("ok").and_then(serde_json::Value::as_bool) == Some(true) {
        let sentence = format!("a real call as {} for {target} was answered", hub.name);
        return Some(Finding::ok(Area::Sudo, "call", sentence));
    }
    let error = reply.get("error").and_then(serde_json::Value::as_str).unwrap_or("no reason");
    let sentence = format!(
        "a real call for {target} was refused by the mediator, as {target} sees it: {}",
        show_words(error)
    );
    Some(say_failed(sentence, &look_again(&scene.own, target), is_explained))
}

/// Why a call was not answered, according to sudo itself when it starts nothing.
fn explain_refusal(
    answer: &Answer,
    list: &[&str],
    scene: &Scene,
    hub: &Account,
    target: &str,
    is_explained: bool,
) -> Finding {
    let own = quote(&scene.own);
    let said = match ask_as(Some(hub), "sudo", list, "") {
        Ok(said) => said,
        Err(silence) => return explain_silence(&silence, target, is_explained),
    };
    let words = show_words(&said.complaint);
    let problem = |code, sentence: String, remedy: String| {
        let because =
            if words.is_empty() { String::new() } else { format!("; sudo said: {words}") };
        Finding::problem(Area::Sudo, code, sentence + &because, remedy)
    };
    let refusal = if said.success { None } else { Some(Refusal::read(&said.complaint)) };
    match refusal {
        Some(Refusal::Account) => {
            let sentence = format!("PAM does not let {} use sudo", hub.name);
            let remedy = format!("chage --expiredate -1 {}", quote(&hub.name));
            problem("hub_account", sentence, remedy)
        }
        Some(Refusal::Terminal) => {
            let sentence = "sudo wants a terminal, which the Hub does not have (requiretty)";
            problem("requiretty", sentence.to_owned(), install_rules(scene))
        }
        Some(Refusal::NotPermitted | Refusal::Unknown) => {
            let run_as = if scene.mode == Mode::Root { "root" } else { target };
            let name = &hub.name;
            let sentence =
                format!("sudo does not let {name} run {own} as {run_as} without a password");
            let remedy = match find_group_to_join(scene) {
                Some(group) => format!("usermod --append --groups {group} {}", quote(target)),
                None => install_rules(scene),
            };
            problem("sudo_refuses", sentence, remedy)
        }
        None if wants_password(scene) => {
            let sentence = format!("sudo lets {} run {own} with a password alone", hub.name);
            problem("sudo_refuses", sentence, install_rules(scene))
        }
        // Mistakes in sudo and its files are reported elsewhere.
        None | Some(Refusal::NoRights | Refusal::Broken) => {
            let sentence = format!(
                "a real call for {target} was not answered, as {target} sees it: {}",
                show_words(&answer.complaint)
            );
            let look = look_again(&scene.own, target);
            let is_root = scene.viewpoint == Viewpoint::Root;
            say_failed(sentence, if is_root { READ_LOG } else { &look }, is_explained)
        }
    }
}

/// Whether rules name the mediator, and all of them need a password.
fn wants_password(scene: &Scene) -> bool {
    let mut ours = scene.listing.entries.iter().filter(|entry| entry.names(&scene.own)).peekable();
    ours.peek().is_some() && ours.all(|entry| !entry.is_free())
}

/// In user mode, the group of a correct rule. If there is one, only the target is refused.
fn find_group_to_join(scene: &Scene) -> Option<String> {
    let is_good = |entry: &&Entry| entry.names(&scene.own) && entry.is_free();
    let mut words = scene.listing.entries.iter().filter(is_good).flat_map(|entry| &entry.run_as);
    let group = words.find_map(|word| word.strip_prefix('%'))?;
    // usermod takes a number as it is.
    let group = group.strip_prefix('#').unwrap_or(group);
    (scene.mode == Mode::User).then(|| quote(group))
}
