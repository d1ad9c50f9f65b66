//! The Hub: its process, what its configuration says of us, and its account.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid, getppid};

use super::finding::{Area, Finding};
use super::remedy::quote;
use super::scene::Scene;
use crate::account::{Account, parse_id};
use crate::policy::Mode;

/// So much of a configuration is read, in bytes.
const MAX_CONFIGURATION: u64 = 1024 * 1024;

/// The Hub, which runs.
#[derive(Debug)]
pub struct HubProcess {
    pid: u32,
    configuration: Option<PathBuf>,
}

/// What the Hub's configuration says of us, as far as its text shows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `c.SudoSpawner.mode`.
    pub mode: Option<Mode>,
    /// `c.SudoSpawner.sudospawner_path`.
    pub path: Option<PathBuf>,
    /// Whether people log in through PAM, which is the default.
    pub pam: Option<bool>,
}

impl HubProcess {
    /// Finds a process of this account that is a JupyterHub, going by its command line; the one that has
    /// started us, if one has.
    pub fn find(uid: Uid) -> Option<Self> {
        let parent = u32::try_from(getppid().as_raw()).ok();
        let entries = fs::read_dir("/proc").ok()?;
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        parent.into_iter().chain(pids).find_map(|pid| Self::recognise(pid, uid))
    }

    fn recognise(pid: u32, uid: Uid) -> Option<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        if fs::metadata(&folder).ok()?.uid() != uid.as_raw() {
            return None;
        }
        let line = fs::read(folder.join("cmdline")).ok()?;
        let words: Vec<String> = line
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let is_hub = |word: &String| Path::new(word).file_name().is_some_and(|n| n == "jupyterhub");
        if !words.iter().take(2).any(is_hub) {
            return None;
        }
        let folder = fs::read_link(folder.join("cwd")).unwrap_or_default();
        Some(Self { pid, configuration: find_configuration(&words).map(|file| folder.join(file)) })
    }

    /// A field of /proc/PID/status, proc(5).
    pub fn read_status(&self, field: &str) -> Option<String> {
        read_status_field(&format!("/proc/{}/status", self.pid), field)
    }

    /// The system's unit that it runs in.
    pub fn find_unit(&self) -> Option<String> {
        find_unit(&fs::read_to_string(format!("/proc/{}/cgroup", self.pid)).ok()?)
    }

    /// The directories that it looks for programs in.
    pub fn read_search_path(&self) -> Option<String> {
        let variables = fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        let mut variables = variables.split(|byte| *byte == 0);
        let path = variables.find_map(|variable| variable.strip_prefix(b"PATH="))?;
        Some(String::from_utf8_lossy(path).into_owned())
    }

    /// Its configuration.
    pub fn configuration(&self) -> Option<&Path> {
        self.configuration.as_deref()
    }

    /// What its configuration says of us.
    pub fn read_settings(&self) -> Settings {
        let text = self.configuration().and_then(read_configuration);
        text.map(|text| parse_settings(&text)).unwrap_or_default()
    }
}

/// A field of a file such as /proc/self/status.
pub fn read_status_field(file: &str, field: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.lines();
    lines.find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned()))
}

/// The configuration that a command line names; JupyterHub's default is in its working directory.
fn find_configuration(words: &[String]) -> Option<PathBuf> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "-f" || word == "--config" {
            return words.next().map(PathBuf::from);
        }
        if let Some(file) = word.strip_prefix("--config=") {
            return Some(PathBuf::from(file));
        }
    }
    Some(PathBuf::from("jupyterhub_config.py"))
}

fn read_configuration(file: &Path) -> Option<String> {
    // A pipe that somebody laid there holds nobody up.
    let flags = OFlag::O_NONBLOCK.bits();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(file).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(MAX_CONFIGURATION).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Assignments of strings at the beginning of a line; whatever else Python may do is not seen.
fn parse_settings(text: &str) -> Settings {
    let mut settings = Settings { pam: Some(true), ..Settings::default() };
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let value = value.trim();
        let word = value.strip_prefix(['"', '\'']).and_then(|rest| rest.split(['"', '\'']).next());
        match (name.trim(), word) {
            ("c.SudoSpawner.mode", Some("root")) => settings.mode = Some(Mode::Root),
            ("c.SudoSpawner.mode", Some("user")) => settings.mode = Some(Mode::User),
            ("c.SudoSpawner.sudospawner_path", Some(path)) => settings.path = Some(path.into()),
            ("c.JupyterHub.authenticator_class", word) => {
                let class = word.unwrap_or(value).to_lowercase();
                settings.pam = Some(class.contains("pam") || class.contains("local"));
            }
            _ => {}
        }
    }
    settings
}

/// The unit of the system's manager in a text of /proc/PID/cgroup; units of a user's own manager are none.
fn find_unit(cgroups: &str) -> Option<String> {
    let line = cgroups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        rest.strip_prefix("name=systemd:").or_else(|| rest.strip_prefix(':'))
    })?;
    let units = line.split('/').skip_while(|part| *part != "system.slice");
    let mut units = units.filter(|part| part.ends_with(".service"));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ":_.@-\\".contains(c);
    units.next().filter(|unit| unit.chars().all(is_plain)).map(ToOwned::to_owned)
}

/// Looks at the account of the Hub.
pub fn look(scene: &Scene) -> Vec<Finding> {
    let Some(hub) = &scene.hub else {
        let own = quote(&scene.own);
        return vec![Finding::warning(
            Area::Hub,
            "hub_user",
            "the Hub's account is not known: name it with --hub-user",
            Some(format!("{own} check --hub-user rhea")),
        )];
    };
    if hub.uid.is_root() {
        return vec![Finding::warning(
            Area::Hub,
            "hub_user",
            "the Hub runs as root, and needs no sudospawner: give it an account of its own",
            None,
        )];
    }
    let assumed =
        if scene.hub_is_assumed { ": who runs this, --hub-user names another" } else { "" };
    let sentence = format!("the Hub's account is {}, uid {}{assumed}", hub.name, hub.uid);
    let mut findings = vec![Finding::ok(Area::Hub, "hub_user", sentence)];
    if scene.pam != Some(false) {
        findings.push(look_at_shadow(scene, hub, scene.pam.is_some()));
    }
    findings
}

/// PAM's pam_unix compares passwords with /etc/shadow: for others than the caller itself, only an account
/// that can read the file may.
fn look_at_shadow(scene: &Scene, hub: &Account, is_pam: bool) -> Finding {
    let code = "shadow";
    let Ok(shadow) = fs::metadata("/etc/shadow") else {
        return Finding::ok(Area::Hub, code, "there is no /etc/shadow");
    };
    let group = Gid::from_raw(shadow.gid());
    let group_name = nix::unistd::Group::from_gid(group).ok().flatten().map(|group| group.name);
    let group_reads = shadow.mode() & 0o040 != 0 && group.as_raw() != 0;
    let is_member = hub.list_groups(hub.gid).is_ok_and(|groups| groups.contains(&group));
    let restart = match &scene.unit {
        Some(unit) if scene.process.is_some() => format!(" && systemctl restart {}", quote(unit)),
        _ => String::new(),
    };
    if group_reads && is_member {
        let groups = scene.process.as_ref().and_then(|process| process.read_status("Groups"));
        let has_group = groups.is_none_or(|groups| {
            groups.split_whitespace().filter_map(parse_id).any(|gid| gid == group.as_raw())
        });
        let name = group_name.unwrap_or_default();
        if has_group {
            let sentence = format!("{} can read /etc/shadow by its group {name}", hub.name);
            return Finding::ok(Area::Hub, code, sentence);
        }
        let sentence = format!(
            "the Hub was started before {} joined the group {name}: it cannot read /etc/shadow, and \
             nobody can log in through PAM",
            hub.name
        );
        let unit = scene.unit.as_deref().unwrap_or("jupyterhub.service");
        return Finding::problem(Area::Hub, code, sentence, format!("systemctl restart {unit}"));
    }
    let sentence = format!(
        "{} cannot read /etc/shadow: nobody but {} itself can log in through PAM",
        hub.name, hub.name
    );
    let remedy = match group_name {
        Some(name) if group_reads => {
            format!("usermod --append --groups {name} {}{restart}", quote(&hub.name))
        }
        _ => format!(
            "groupadd --force --system shadow && chgrp shadow /etc/shadow && chmod g+r /etc/shadow && \
             usermod --append --groups shadow {}{restart}",
            hub.name
        ),
    };
    if is_pam {
        return Finding::problem(Area::Hub, code, sentence, remedy);
    }
    let sentence = format!("{sentence}, if the Hub has people log in through PAM");
    Finding::warning(Area::Hub, code, sentence, Some(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_that_of_the_systems_manager() {
        let unit = |text: &str| find_unit(text);
        let expected = Some("jupyterhub.service".to_owned());
        assert_eq!(unit("0::/system.slice/jupyterhub.service\n"), expected);
        assert_eq!(unit("4:pids:/x\n1:name=systemd:/system.slice/jupyterhub.service\n"), expected);
        assert_eq!(unit("0::/machine/x/system.slice/jupyterhub.service/sub\n"), expected);
        assert_eq!(unit("0::/user.slice/user@1000.service/app.slice/x.service\n"), None);
        assert_eq!(unit("0::/system.slice/a;b.service\n"), None);
    }

    #[test]
    fn the_configuration_is_where_the_command_line_says() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let find = |line: &str| find_configuration(&words(line)).unwrap();
        assert_eq!(find("python jupyterhub -f /etc/j.py"), PathBuf::from("/etc/j.py"));
        assert_eq!(find("python jupyterhub --config=j.py"), PathBuf::from("j.py"));
        assert_eq!(find("python jupyterhub"), PathBuf::from("jupyterhub_config.py"));
    }

    #[test]
    fn settings_are_read_from_plain_assignments() {
        let text = "c.SudoSpawner.mode = \"root\"  # why\nc.SudoSpawner.sudospawner_path='/b'\n\
                    # c.SudoSpawner.mode = \"user\"\nc.JupyterHub.authenticator_class = 'dummy'\n";
        let settings = parse_settings(text);
        assert_eq!(settings.mode, Some(Mode::Root));
        assert_eq!(settings.path, Some(PathBuf::from("/b")));
        assert_eq!(settings.pam, Some(false));
        assert_eq!(parse_settings("").pam, Some(true));
        assert_eq!(parse_settings("c.JupyterHub.authenticator_class = LDAP").pam, Some(false));
    }
}
