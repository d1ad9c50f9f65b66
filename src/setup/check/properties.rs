//! What systemd says about a unit.

use std::collections::BTreeMap;
use std::path::Path;

use super::apart::Silence;
use super::commands::ask;

/// Properties that set the flag no_new_privs, systemd.exec(5), with the values that unset them.
pub const SETTING: [(&str, &str); 2] = [("NoNewPrivileges", "no"), ("DynamicUser", "no")];

/// Properties that need a system call filter, which systemd before 255 can give to a unit without root only
/// together with that flag; with the values that they have when not set, which also unset them.
pub const FILTERING: [(&str, &str); 14] = [
    ("LockPersonality", "no"),
    ("MemoryDenyWriteExecute", "no"),
    ("PrivateDevices", "no"),
    ("ProtectClock", "no"),
    ("ProtectHostname", "no"),
    ("ProtectKernelLogs", "no"),
    ("ProtectKernelModules", "no"),
    ("ProtectKernelTunables", "no"),
    ("RestrictNamespaces", "no"),
    ("RestrictRealtime", "no"),
    ("RestrictSUIDSGID", "no"),
    ("RestrictAddressFamilies", ""),
    ("SystemCallArchitectures", ""),
    ("SystemCallFilter", ""),
];

/// The other properties that are asked for.
const OTHERS: [&str; 15] = [
    "LoadState",
    "User",
    "ExecStart",
    "WorkingDirectory",
    "Environment",
    "MainPID",
    "KillMode",
    "OOMPolicy",
    "TasksMax",
    "LimitNOFILESoft",
    "MemoryMax",
    "ProtectHome",
    "ProtectSystem",
    "ReadWritePaths",
    "CapabilityBoundingSet",
];

/// What systemd calls itself: `systemd 257 (257.9-1)`. None if it does not run here.
pub fn read_version() -> Option<String> {
    if !Path::new("/run/systemd/system").is_dir() {
        return None;
    }
    let answer = ask("systemctl", &["--version"]).ok().filter(|answer| answer.success)?;
    answer.output.lines().next().map(str::to_owned)
}

/// The number in such a line.
pub fn parse_version(line: &str) -> Option<u32> {
    // A pre-release is `256~rc3`.
    let word = line.split(' ').nth(1)?;
    word.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The properties of a unit, as systemctl shows them.
pub type Properties = BTreeMap<String, String>;

/// The usual unit of a Hub, if this machine has it.
pub fn find_usual() -> Option<String> {
    let unit = "jupyterhub.service";
    let properties = read_properties(unit).ok()?;
    is_loaded(&properties).then(|| unit.to_owned())
}

/// The account that a unit runs as, if it is not root.
pub fn read_user(unit: &str) -> Option<String> {
    read_properties(unit).ok()?.remove("User").filter(|user| !user.is_empty())
}

/// The directories in which units search for programs by default.
pub fn read_search_path() -> Option<String> {
    let environment = ask("systemctl", &["show-environment"]).ok()?.output;
    environment.lines().find_map(|line| Some(line.strip_prefix("PATH=")?.to_owned()))
}

/// Whether systemd knows the unit.
#[must_use]
pub fn is_loaded(properties: &Properties) -> bool {
    properties.get("LoadState").is_some_and(|state| state == "loaded")
}

/// What systemd says about a unit.
///
/// # Errors
/// A sentence if it says nothing.
pub fn read_properties(unit: &str) -> Result<Properties, Silence> {
    if !Path::new("/run/systemd/system").is_dir() {
        return Err(Silence("systemd does not run here".to_owned()));
    }
    let implying = SETTING.iter().chain(&FILTERING).map(|(name, _)| *name);
    let names: Vec<&str> = implying.chain(OTHERS).collect();
    let asked = format!("--property={}", names.join(","));
    let answer = ask("systemctl", &["show", &asked, "--", unit])?;
    let lines = answer.output.lines().filter_map(|line| line.split_once('='));
    Ok(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
