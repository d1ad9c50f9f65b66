//! The Hub's systemd unit: whether sudo works in it, and what happens to servers when the Hub ends.

use std::path::Path;

use super::finding::{Area, Finding};
use super::hub_program::read_status_field;
use super::properties::{
    FILTERING, Properties, SETTING, is_loaded, parse_version, read_properties, read_version,
};
use super::remedy::{add_to_unit, quote};
use super::scene::Scene;
use root::account::Way;
use root::policy::file::Launcher;
use target::mode::Mode;

/// How many descriptors the Hub needs for itself, for connections, and so that it can start and stop servers.
const OWN_DESCRIPTORS: usize = 128;

/// Looks at the unit that the Hub runs in.
pub fn look(scene: &Scene) -> Vec<Finding> {
    let mut findings = Vec::new();
    let unit = scene.unit.as_deref();
    let properties = unit.map(read_properties).transpose();
    let known = properties.as_ref().ok().and_then(Option::as_ref);
    if scene.way == Way::Command {
        findings.extend(look_at_privileges(scene, unit, known));
    }
    if let Err(silence) = &properties {
        findings.push(Finding::warning(Area::Unit, "unit", silence.to_string(), None));
    }
    let (Some(unit), Some(properties)) = (unit, known) else {
        let sentence = "no unit of the Hub was found; --unit names one";
        findings.push(Finding::ok(Area::Unit, "unit", sentence));
        return findings;
    };
    if !is_loaded(properties) {
        let sentence = format!("systemd knows no unit {unit}");
        findings.push(Finding::warning(Area::Unit, "unit", sentence, None));
        return findings;
    }
    findings.push(Finding::ok(Area::Unit, "unit", format!("the Hub's unit is {unit}")));
    let records = |switch| scene.listing.is_on(switch, &scene.own);
    if ["log_input", "log_output"].into_iter().any(records) {
        let place = scene.listing.find_records();
        findings.extend(judge_recording(unit, properties, &place, scene.program.is_running()));
    }
    // Servers that are processes beside the Hub belong to the Hub's unit.
    let launcher = scene.policy.as_ref().map(|policy| policy.server.launcher);
    if scene.mode == Mode::User || launcher.is_none_or(|one| matches!(one, Launcher::Process)) {
        findings.extend(judge_servers(unit, properties));
        findings.push(judge_descriptors(unit, properties, scene.count_permitted()));
    }
    findings
}

/// Whether anything in the Hub's unit, or in this process, keeps sudo from gaining privileges.
fn look_at_privileges(
    scene: &Scene,
    unit: Option<&str>,
    properties: Option<&Properties>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let flag = |value: Option<String>| value.as_deref() == Some("1");
    let of_hub = flag(scene.program.read_status("NoNewPrivs"));
    let systemd = read_version().as_deref().and_then(parse_version);
    let set = properties.map(|one| list_implying(one, systemd)).unwrap_or_default();
    if of_hub || !set.is_empty() {
        let unit = unit.unwrap_or("jupyterhub.service");
        let by = match set.as_slice() {
            [] => "a parent of the Hub".to_owned(),
            _ => set.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
        };
        let sentence =
            format!("sudo cannot work in the Hub's unit {unit}: it gains no rights, by {by}");
        let lines: Vec<String> = match set.as_slice() {
            [] => vec!["NoNewPrivileges=no".to_owned()],
            _ => set.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        };
        let remedy = add_and_restart(unit, "privileges", &lines, scene.program.is_running());
        findings.push(Finding::problem(Area::Unit, "no_new_privileges", sentence, remedy));
    }
    if let (Some(unit), Some(set)) =
        (unit, properties.and_then(|one| one.get("CapabilityBoundingSet")))
        && !set.is_empty()
        && ["cap_setuid", "cap_setgid", "cap_audit_write"].iter().any(|one| !set.contains(one))
    {
        let sentence = format!("CapabilityBoundingSet= of {unit} keeps sudo from becoming anyone");
        let lines = ["CapabilityBoundingSet=~".to_owned()];
        let remedy = add_and_restart(unit, "capabilities", &lines, scene.program.is_running());
        findings.push(Finding::problem(Area::Unit, "capabilities", sentence, remedy));
    }
    if findings.is_empty() && flag(read_status_field("/proc/self/status", "NoNewPrivs")) {
        let sentence =
            "this process can gain no rights (no_new_privs): look from outside of its container";
        findings.push(Finding::warning(Area::Unit, "no_new_privileges", sentence, None));
    }
    findings
}

/// Sets lines of the unit. A running Hub needs a restart for them.
fn add_and_restart(unit: &str, name: &str, lines: &[String], is_running: bool) -> String {
    let restart =
        if is_running { format!(" && systemctl restart {}", quote(unit)) } else { String::new() };
    add_to_unit(unit, name, lines) + &restart
}

/// The properties that imply no_new_privs in this version of systemd, and the values that unset them.
fn list_implying(
    properties: &Properties,
    systemd: Option<u32>,
) -> Vec<(&'static str, &'static str)> {
    let is_set = |(name, unset): &&(&str, &str)| {
        // systemctl shows an empty filter as "~".
        properties
            .get(*name)
            .is_some_and(|value| value != unset && value != "~" && !value.is_empty())
    };
    let filtering: &[_] =
        if systemd.is_some_and(|version| version >= 255) { &[] } else { &FILTERING };
    SETTING.iter().chain(filtering).filter(is_set).copied().collect()
}

/// Whether sudo can write to the directory of its records from within the unit. If not, it does nothing and
/// says nothing.
fn judge_recording(
    unit: &str,
    properties: &Properties,
    place: &Path,
    is_running: bool,
) -> Option<Finding> {
    let value = |name: &str| properties.get(name).map(String::as_str).unwrap_or_default();
    let mut writable =
        value("ReadWritePaths").split(' ').map(|path| path.trim_start_matches(['-', '+']));
    let may_write = writable.any(|path| !path.is_empty() && place.starts_with(path));
    if value("ProtectSystem") != "strict" || may_write {
        return None;
    }
    let shown = place.display();
    let sentence = format!(
        "sudo records sessions in {shown}, which ProtectSystem=strict of {unit} does not let it: every call \
         ends with status 1, without a word"
    );
    let lines = [format!("ReadWritePaths={shown}")];
    let change = add_and_restart(unit, "recording", &lines, is_running);
    let remedy = format!("mkdir -p -m 0700 {} && {change}", quote(place));
    Some(Finding::problem(Area::Unit, "recording", sentence, remedy))
}

/// What the unit does to servers in it.
fn judge_servers(unit: &str, properties: &Properties) -> Vec<Finding> {
    let mut findings = Vec::new();
    let value = |name: &str| properties.get(name).map(String::as_str).unwrap_or_default();
    let mut require =
        |code, name: &str, good: &[&str], wanted: &str, sentence: &str, is_problem| {
            let is = value(name);
            if is.is_empty() || good.contains(&is) {
                let sentence = format!("{name}={is}");
                findings.push(Finding::ok(Area::Unit, code, sentence));
                return;
            }
            let sentence = format!("{name}={is} of {unit}: {sentence}");
            let lines = [format!("{name}={wanted}")];
            let remedy = add_to_unit(unit, code, &lines);
            findings.push(if is_problem {
                Finding::problem(Area::Unit, code, sentence, remedy)
            } else {
                Finding::warning(Area::Unit, code, sentence, Some(remedy))
            });
        };
    let process = ["process", "none"];
    require(
        "kill_mode",
        "KillMode",
        &process,
        "process",
        "a restart of the Hub ends every server",
        true,
    );
    let sentence = "the out-of-memory killer, called for one server, ends the Hub and all servers";
    require("oom_policy", "OOMPolicy", &["continue"], "continue", sentence, true);
    let sentence = "all threads of all servers count together; one more cannot be started";
    require("tasks_max", "TasksMax", &["infinity"], "infinity", sentence, false);
    let sentence = "the Hub and all servers share it";
    require("memory_max", "MemoryMax", &["infinity"], "infinity", sentence, false);
    let sentence = "servers inherit it, and nobody has a home";
    require("protect_home", "ProtectHome", &["no"], "no", sentence, true);
    findings
}

/// Whether the Hub may have a descriptor for the log of each server beside it.
fn judge_descriptors(unit: &str, properties: &Properties, people: usize) -> Finding {
    let code = "limit_nofile";
    let limit = properties.get("LimitNOFILESoft").map(String::as_str).unwrap_or_default();
    // Anything else is "infinity".
    let most = limit.parse().unwrap_or(usize::MAX);
    if most >= people.saturating_add(OWN_DESCRIPTORS) {
        return Finding::ok(Area::Unit, code, format!("LimitNOFILE={limit}"));
    }
    let sentence = format!(
        "LimitNOFILE={limit} of {unit}: each server takes a descriptor of the Hub's, and {people} accounts \
         may have one; it counts when the Hub is started again"
    );
    let wanted = people.saturating_mul(2).next_power_of_two().max(65536);
    let remedy = add_to_unit(unit, code, &[format!("LimitNOFILE={wanted}")]);
    Finding::warning(Area::Unit, code, sentence, Some(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(text: &str) -> Properties {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn what_implies_no_new_privileges_is_named_with_what_unsets_it() {
        let list =
            |text: &str, version: &str| list_implying(&properties(text), parse_version(version));
        let (old, new) = ("systemd 252 (252.39-1~deb12u2)", "systemd 257 (257.13-1~deb13u1)");
        // As systemd 252 shows a unit with none of these.
        let plain = "NoNewPrivileges=no\nSystemCallFilter=~\nRestrictAddressFamilies=~\n";
        assert_eq!(list(plain, old), []);
        let set = "NoNewPrivileges=no\nPrivateDevices=yes\nSystemCallFilter=read write\n";
        assert_eq!(list(set, old), [("PrivateDevices", "no"), ("SystemCallFilter", "")]);
        assert_eq!(list(set, new), []);
        assert_eq!(list("DynamicUser=yes\nPrivateDevices=yes\n", new), [("DynamicUser", "no")]);
    }

    #[test]
    fn sudo_has_to_be_let_write_its_records() {
        let judge = |text: &str| {
            let place = Path::new("/var/log/sudo-io");
            judge_recording("hub.service", &properties(text), place, false)
        };
        assert!(judge("ProtectSystem=full\nReadWritePaths=").is_none());
        assert!(judge("ProtectSystem=strict\nReadWritePaths=/srv -/var/log").is_none());
        for paths in ["", "/srv /var/log/sudo"] {
            let found = judge(&format!("ProtectSystem=strict\nReadWritePaths={paths}")).unwrap();
            assert!(found.remedy.unwrap().contains("ReadWritePaths=/var/log/sudo-io"));
        }
    }

    #[test]
    fn the_hub_has_a_descriptor_for_each_server() {
        let judge = |limit: &str, people| {
            let properties = properties(&format!("LimitNOFILESoft={limit}"));
            judge_descriptors("hub.service", &properties, people).remedy
        };
        assert_eq!(judge("1024", 896), None);
        assert!(judge("1024", 897).unwrap().contains("LimitNOFILE=65536\\n"));
        assert!(judge("1024", 40_000).unwrap().contains("LimitNOFILE=131072\\n"));
        assert_eq!(judge("infinity", 40_000), None);
    }

    #[test]
    fn each_setting_that_harms_servers_is_found_with_its_own_remedy() {
        let bad =
            "KillMode=control-group\nOOMPolicy=stop\nTasksMax=100\nMemoryMax=1\nProtectHome=yes";
        let findings = judge_servers("hub.service", &properties(bad));
        assert_eq!(findings.len(), 5);
        assert!(findings.iter().all(|finding| finding.remedy.is_some()));
        let good = "KillMode=process\nOOMPolicy=continue\nTasksMax=infinity\nMemoryMax=infinity";
        let findings = judge_servers("hub.service", &properties(good));
        assert!(findings.iter().all(|finding| finding.remedy.is_none()));
    }
}
