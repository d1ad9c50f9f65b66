//! The Hub's program: how it is called, by whose word, and what its own account sees of its files.
//!
//! Root, and anyone else, believes the Hub's unit, which is root's. A process that goes by the name of a Hub
//! is believed by its own account alone: anyone can start one.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::{Uid, getppid};
use serde::{Deserialize, Serialize};

use super::unit::{self, Properties};
use crate::account::{Account, parse_id};
use crate::policy::Mode;
use crate::server::read_interpreter;

/// So much of a configuration is read, in bytes.
const MAX_CONFIGURATION: u64 = 1024 * 1024;
/// As long as a path can be, limits.h.
const MAX_PATH: usize = 4096;

/// The Hub's program, as far as it is known.
#[derive(Debug, Default)]
pub struct HubProgram {
    /// Its process, if it runs.
    pid: Option<u32>,
    /// The system's unit that it runs in.
    pub unit: Option<String>,
    /// Its configuration.
    pub configuration: Option<PathBuf>,
    /// The directories that it looks for programs in.
    pub directories: Vec<PathBuf>,
    /// Whether a process says all this, which could say anything, and not the unit.
    pub is_own_word: bool,
}

impl HubProgram {
    /// Finds a process of this account, which is this process's own, that is a JupyterHub, going by its
    /// command line; the one that has started us, if one has.
    pub fn find_own(uid: Uid) -> Option<Self> {
        let parent = u32::try_from(getppid().as_raw()).ok();
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

    /// What a unit says of the Hub that it starts.
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
        let path = own.next_back().map(str::to_owned).or_else(unit::read_search_path);
        Self {
            pid: value("MainPID").parse().ok().filter(|pid| *pid != 0),
            unit: Some(unit.to_owned()),
            configuration: configuration.map(|file| place.join(file)),
            directories: path.as_deref().map(split_path).unwrap_or_default(),
            is_own_word: false,
        }
    }

    /// What is known where there is neither process nor unit: that it could have our own PATH, unless sudo
    /// has made that.
    pub fn unknown() -> Self {
        let path = std::env::var("PATH").ok().filter(|_| std::env::var_os("SUDO_UID").is_none());
        let directories = path.as_deref().map(split_path).unwrap_or_default();
        Self { directories, ..Self::default() }
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.pid.is_some()
    }

    /// A field of /proc/PID/status, proc(5).
    pub fn read_status(&self, field: &str) -> Option<String> {
        read_status_field(&format!("/proc/{}/status", self.pid?), field)
    }
}

/// The unit that starts a Hub as this account, among those that processes of the account are in. Their
/// command lines are not read: that alone can hold root up.
pub fn find_unit_of(hub: &Account) -> Option<String> {
    let pids = list_processes().into_iter().filter(|pid| is_of(*pid, hub.uid));
    let units: BTreeSet<String> = pids.filter_map(read_unit).collect();
    units.into_iter().find(|unit| {
        unit::read_properties(unit).is_ok_and(|properties| {
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

/// The strings of a file such as /proc/self/cmdline.
fn read_strings(file: &Path) -> Option<Vec<String>> {
    let text = fs::read(file).ok()?;
    let strings = text.split(|byte| *byte == 0);
    Some(strings.map(|string| String::from_utf8_lossy(string).into_owned()).collect())
}

fn read_unit(pid: u32) -> Option<String> {
    find_unit(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
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

/// The words of a command as systemctl shows it, which are none where it had to quote one.
fn read_command(shown: &str) -> Vec<String> {
    let command = shown.split_once("argv[]=").and_then(|(_, rest)| rest.split_once(" ; "));
    let command = command.map(|(command, _)| command).unwrap_or_default();
    if command.contains(['"', '\'', '\\', '$']) {
        return Vec::new();
    }
    command.split_whitespace().map(str::to_owned).collect()
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

/// What the Hub's configuration says of us, as far as its text shows it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Whether `c.SudoSpawner.mode` is root mode.
    is_root_mode: Option<bool>,
    /// `c.SudoSpawner.sudospawner_path`.
    pub path: Option<PathBuf>,
    /// Whether people log in through PAM, which is the default.
    pub pam: Option<bool>,
}

impl Settings {
    /// `c.SudoSpawner.mode`.
    pub fn mode(&self) -> Option<Mode> {
        self.is_root_mode.map(|is_root| if is_root { Mode::Root } else { Mode::User })
    }
}

/// What has our name in a directory of the Hub's PATH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namesake {
    /// Nothing, or what an earlier directory has as well.
    None,
    /// This file.
    This,
    /// The Python package's program.
    Python,
    /// Another program.
    Other,
}

/// What the Hub's account sees of the Hub's files. No path is among it but the setting's.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// What the configuration says.
    pub settings: Settings,
    /// Whether the program that the Hub calls, where that is known, is the one that looks.
    pub is_called: bool,
    /// For each directory of the PATH.
    pub namesakes: Vec<Namesake>,
}

/// Looks at the Hub's files; `named` is the program that it is said to call. This is done as the Hub's
/// account, since the files can be anything.
pub fn look_at_files(
    own: &Path,
    configuration: Option<&Path>,
    named: Option<&Path>,
    directories: &[PathBuf],
) -> Seen {
    let text = configuration.and_then(read_configuration);
    let settings = text.map(|text| parse_settings(&text)).unwrap_or_default();
    let called = named.or(settings.path.as_deref());
    let is_called = called.is_some_and(|called| is_same_file(called, own));
    Seen { is_called, namesakes: find_namesakes(own, directories), settings }
}

fn read_configuration(file: &Path) -> Option<String> {
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
            ("c.SudoSpawner.mode", Some("root")) => settings.is_root_mode = Some(true),
            ("c.SudoSpawner.mode", Some("user")) => settings.is_root_mode = Some(false),
            ("c.SudoSpawner.sudospawner_path", Some(path)) if path.len() < MAX_PATH => {
                settings.path = Some(path.into());
            }
            ("c.JupyterHub.authenticator_class", word) => {
                let class = word.unwrap_or(value).to_lowercase();
                settings.pam = Some(class.contains("pam") || class.contains("local"));
            }
            _ => {}
        }
    }
    settings
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identify = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    identify(one).is_some() && identify(one) == identify(other)
}

fn find_namesakes(own: &Path, directories: &[PathBuf]) -> Vec<Namesake> {
    let mut known: Vec<PathBuf> = Vec::new();
    let mut recognise = |directory: &PathBuf| {
        let path = directory.join("sudospawner");
        if is_same_file(&path, own) {
            return Namesake::This;
        }
        if !path.is_file() || known.iter().any(|known| is_same_file(known, &path)) {
            return Namesake::None;
        }
        let interpreter = read_interpreter(&path);
        known.push(path);
        let is_python = |file: PathBuf| file.to_string_lossy().contains("python");
        if interpreter.is_some_and(is_python) { Namesake::Python } else { Namesake::Other }
    };
    directories.iter().map(&mut recognise).collect()
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

    #[test]
    fn settings_are_read_from_plain_assignments() {
        let text = "c.SudoSpawner.mode = \"root\"  # why\nc.SudoSpawner.sudospawner_path='/b'\n\
                    # c.SudoSpawner.mode = \"user\"\nc.JupyterHub.authenticator_class = 'dummy'\n";
        let settings = parse_settings(text);
        assert_eq!(settings.mode(), Some(Mode::Root));
        assert_eq!(settings.path, Some(PathBuf::from("/b")));
        assert_eq!(settings.pam, Some(false));
        assert_eq!(parse_settings("").pam, Some(true));
        assert_eq!(parse_settings("c.JupyterHub.authenticator_class = LDAP").pam, Some(false));
    }
}
