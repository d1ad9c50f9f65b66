//! The Hub's program: how it is called, who says so, and what its own account sees of its files.
//!
//! Everyone, even root, believes the Hub's unit, which is root's. Only the account itself believes a process
//! that has a Hub's name: anyone can start one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::properties::{Properties, read_properties, read_search_path};
use nix::unistd::{Pid, Uid};
use root::account::{Account, parse_id};
use serde::{Deserialize, Serialize};

/// The Hub's program, as far as known.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct HubProgram {
    /// Its process, if it is running.
    pid: Option<u32>,
    /// The system unit that it runs in.
    pub unit: Option<String>,
    /// Its configuration.
    pub configuration: Option<PathBuf>,
    /// The directories in which it searches for programs.
    pub directories: Vec<PathBuf>,
    /// Whether all this comes from a process, which could say anything, and not from the unit.
    pub is_own_word: bool,
}

impl HubProgram {
    /// Finds a process of this account, which is also our own, whose command line is a JupyterHub's. Prefers
    /// the process that started the check.
    pub fn find_own(uid: Uid, starter: Pid) -> Option<Self> {
        let parent = u32::try_from(starter.as_raw()).ok();
        parent.into_iter().chain(list_processes()).find_map(|pid| Self::recognise(pid, uid))
    }

    fn recognise(pid: u32, uid: Uid) -> Option<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        if !is_of(pid, uid) {
            return None;
        }
        let words = read_strings(&folder.join("cmdline"))?;
        if !words.iter().take(2).any(is_hub) {
            return None;
        }
        let place = fs::read_link(folder.join("cwd")).unwrap_or_default();
        let variables = read_strings(&folder.join("environ")).unwrap_or_default();
        let path = variables.iter().find_map(|variable| variable.strip_prefix("PATH="));
        Some(Self {
            pid: Some(pid),
            unit: read_unit(pid),
            configuration: find_configuration(&words).map(|file| place.join(file)),
            directories: path.map(split_path).unwrap_or_default(),
            is_own_word: true,
        })
    }

    /// What a unit says about the Hub that it starts.
    pub fn of_unit(unit: &str, properties: &Properties, hub: Option<&Account>) -> Self {
        let value = |name: &str| properties.get(name).map(String::as_str).unwrap_or_default();
        let words = read_command(value("ExecStart"));
        let place = match value("WorkingDirectory").trim_start_matches(['!', '-']) {
            "" => PathBuf::from("/"),
            "~" => hub.map(|hub| hub.home.clone()).unwrap_or_default(),
            place => PathBuf::from(place),
        };
        let configuration = find_configuration(&words).filter(|_| words.iter().any(is_hub));
        let mut own = value("Environment").split(' ').filter_map(|word| word.strip_prefix("PATH="));
        let path = own.next_back().map(str::to_owned).or_else(read_search_path);
        Self {
            pid: value("MainPID").parse().ok().filter(|pid| *pid != 0),
            unit: Some(unit.to_owned()),
            configuration: configuration.map(|file| place.join(file)),
            directories: path.as_deref().map(split_path).unwrap_or_default(),
            is_own_word: false,
        }
    }

    /// What is known without a process or unit: the Hub could have our own PATH, unless sudo has set that.
    pub fn unknown() -> Self {
        let path = std::env::var("PATH").ok().filter(|_| std::env::var_os("SUDO_UID").is_none());
        let directories = path.as_deref().map(split_path).unwrap_or_default();
        Self { directories, ..Self::default() }
    }

    /// Whether it is running.
    pub fn is_running(&self) -> bool {
        self.pid.is_some()
    }

    /// A field of /proc/PID/status, proc(5).
    pub fn read_status(&self, field: &str) -> Option<String> {
        read_status_field(&format!("/proc/{}/status", self.pid?), field)
    }
}

/// The unit that starts a Hub as this account, among the units of the account's processes. Their command
/// lines are not read: reading one can already block root.
pub fn find_unit_of(hub: &Account) -> Option<String> {
    let pids = list_processes().into_iter().filter(|pid| is_of(*pid, hub.uid));
    let units: BTreeSet<String> = pids.filter_map(read_unit).collect();
    units.into_iter().find(|unit| {
        read_properties(unit).is_ok_and(|properties| {
            let command = properties.get("ExecStart").map(|value| read_command(value));
            let user = properties.get("User");
            user.is_some_and(|user| *user == hub.name || parse_id(user) == Some(hub.uid.as_raw()))
                && command.is_some_and(|words| words.iter().any(is_hub))
        })
    })
}

fn list_processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn is_of(pid: u32, uid: Uid) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok_and(|folder| folder.uid() == uid.as_raw())
}

/// The strings in a file such as /proc/self/cmdline.
fn read_strings(file: &Path) -> Option<Vec<String>> {
    let text = fs::read(file).ok()?;
    let strings = text.split(|byte| *byte == 0);
    Some(strings.map(|string| String::from_utf8_lossy(string).into_owned()).collect())
}

fn read_unit(pid: u32) -> Option<String> {
    find_unit(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// The system unit in the text of /proc/PID/cgroup. Units of a user's own manager do not count.
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

/// A field of a file such as /proc/self/status.
pub fn read_status_field(file: &str, field: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.lines();
    lines.find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned()))
}

fn is_hub(word: &String) -> bool {
    Path::new(word).file_name().is_some_and(|name| name == "jupyterhub")
}

fn split_path(path: &str) -> Vec<PathBuf> {
    path.split(':').filter(|directory| directory.starts_with('/')).map(PathBuf::from).collect()
}

/// The words of a command as systemctl shows it; none if it had to quote one.
fn read_command(shown: &str) -> Vec<String> {
    let command = shown.split_once("argv[]=").and_then(|(_, rest)| rest.split_once(" ; "));
    let command = command.map(|(command, _)| command).unwrap_or_default();
    if command.contains(['"', '\'', '\\', '$']) {
        return Vec::new();
    }
    command.split_whitespace().map(str::to_owned).collect()
}

/// The configuration named on a command line. JupyterHub's default is in its working directory.
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
    fn a_unit_says_what_the_hub_is_started_with() {
        let of = |command: &str, folder: &str, environment: &str| {
            // As systemd 252 shows it.
            let shown = format!(
                "{{ path=/opt/hub/bin/jupyterhub ; argv[]={command} ; ignore_errors=no ; pid=0 }}"
            );
            let properties = [
                ("ExecStart", shown.as_str()),
                ("WorkingDirectory", folder),
                ("Environment", environment),
                ("MainPID", "0"),
            ];
            let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
            HubProgram::of_unit("hub.service", &properties.into(), None)
        };
        let path = "PATH=/opt/hub/bin:relative:/bin LANG=C";
        let program = of("/opt/hub/bin/jupyterhub -f config.py", "/srv/hub", path);
        assert_eq!(program.configuration, Some("/srv/hub/config.py".into()));
        assert_eq!(program.directories, [Path::new("/opt/hub/bin"), Path::new("/bin")]);
        assert!(!program.is_running() && !program.is_own_word);
        let default = of("/usr/bin/python3 -m /opt/hub/bin/jupyterhub", "!/srv/hub", path);
        assert_eq!(default.configuration, Some("/srv/hub/jupyterhub_config.py".into()));
        for unclear in ["/bin/sh -c \"exec jupyterhub -f x\"", "/opt/jupyterhub -f $X", "/bin/y"] {
            assert_eq!(of(unclear, "/srv/hub", path).configuration, None, "{unclear}");
        }
    }
}
