//! The Hub's files: its configuration, and the programs on its PATH.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ground::script::read_interpreter_of;
use nix::fcntl::OFlag;
use root::account::Way;
use serde::{Deserialize, Serialize};
use target::mode::Mode;

/// How much of a configuration is read, in bytes.
const MAX_CONFIGURATION: u64 = 1024 * 1024;
/// The maximum length of a path, limits.h.
const MAX_PATH: usize = 4096;

/// What the Hub's configuration says about us, as far as its text shows.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Whether in `c.SudoSpawner.mode` root's policy decides.
    is_root_mode: Option<bool>,
    /// Whether that is through the socket.
    is_by_socket: bool,
    /// `c.SudoSpawner.socket_path`.
    pub socket: Option<PathBuf>,
    /// `c.SudoSpawner.sudospawner_path`.
    pub path: Option<PathBuf>,
    /// Whether people log in through PAM, which is the default.
    pub pam: Option<bool>,
    /// Where servers reach the Hub.
    pub hub_address: Option<String>,
    /// Whether Hub, proxy and servers speak TLS with each other.
    pub internal_ssl: bool,
}

impl Settings {
    /// `c.SudoSpawner.mode`, and how the Hub calls in it.
    pub fn called(&self) -> Option<(Mode, Way)> {
        let way = if self.is_by_socket { Way::Socket } else { Way::Command };
        self.is_root_mode.map(|is_root| (if is_root { Mode::Root } else { Mode::User }, way))
    }
}

/// What has our name in a directory of the Hub's PATH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namesake {
    /// Nothing, or the same file as in an earlier directory.
    None,
    /// This file.
    This,
    /// The Python package's program.
    Python,
    /// Another program.
    Other,
}

/// What the Hub's account sees of the Hub's files. The only path in it is the setting's.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// What the configuration says.
    pub settings: Settings,
    /// Whether the program that the Hub calls, if known, is the one that looks.
    pub is_called: bool,
    /// For each directory of the PATH.
    pub namesakes: Vec<Namesake>,
}

/// Looks at the Hub's files. `named` is the program that the Hub is said to call. This runs as the Hub's
/// account, because the files could be anything.
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

/// Finds assignments of strings at the beginning of a line. Whatever else Python may do is not seen.
fn parse_settings(text: &str) -> Settings {
    let mut settings = Settings { pam: Some(true), ..Settings::default() };
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let value = value.trim();
        let word = value.strip_prefix(['"', '\'']).and_then(|rest| rest.split(['"', '\'']).next());
        match (name.trim(), word) {
            ("c.SudoSpawner.mode", Some(mode @ ("user" | "root" | "socket"))) => {
                settings.is_root_mode = Some(mode != "user");
                settings.is_by_socket = mode == "socket";
            }
            ("c.SudoSpawner.socket_path", Some(path)) if path.len() < MAX_PATH => {
                settings.socket = Some(path.into());
            }
            ("c.SudoSpawner.sudospawner_path", Some(path)) if path.len() < MAX_PATH => {
                settings.path = Some(path.into());
            }
            ("c.JupyterHub.hub_connect_ip" | "c.JupyterHub.hub_connect_url", Some(address))
                if address.len() < MAX_PATH =>
            {
                settings.hub_address = Some(address.to_owned())
            }
            ("c.JupyterHub.internal_ssl", _) => settings.internal_ssl = value.starts_with("True"),
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
        let interpreter = read_interpreter_of(&path);
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
    fn settings_are_read_from_plain_assignments() {
        let text = "c.SudoSpawner.mode = \"root\"  # why\nc.SudoSpawner.sudospawner_path='/b'\n\
                    # c.SudoSpawner.mode = \"user\"\nc.JupyterHub.authenticator_class = 'dummy'\n";
        let settings = parse_settings(text);
        assert_eq!(settings.called(), Some((Mode::Root, Way::Command)));
        let by_socket = "c.SudoSpawner.mode = 'socket'\nc.SudoSpawner.socket_path = '/run/s'";
        let settings_of_socket = parse_settings(by_socket);
        assert_eq!(settings_of_socket.called(), Some((Mode::Root, Way::Socket)));
        assert_eq!(settings_of_socket.socket, Some(PathBuf::from("/run/s")));
        assert_eq!(settings.path, Some(PathBuf::from("/b")));
        assert_eq!(settings.pam, Some(false));
        assert!(parse_settings("c.JupyterHub.internal_ssl = True  # why").internal_ssl);
        assert!(!parse_settings("c.JupyterHub.internal_ssl = False").internal_ssl);
        assert_eq!(parse_settings("").pam, Some(true));
        assert_eq!(parse_settings("c.JupyterHub.authenticator_class = LDAP").pam, Some(false));
    }
}
