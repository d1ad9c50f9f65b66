//! Commands that mend something: one line for root's shell each, with every name quoted.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use crate::account::Account;
use crate::trusted_file::{Distrust, open_trusted};

/// A word for the shell, in quotes where it needs them.
pub fn quote(word: impl AsRef<Path>) -> String {
    let word = word.as_ref().display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._+-@%:,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word;
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A command that changes or executes a file, as whoever owns the file unless it is root's alone: root
/// executes nothing, and follows nothing, that somebody else could have laid there. `None` where a file of
/// root's is in a place that is another's.
pub fn run_as_owner(file: &Path, command: &str) -> Option<String> {
    if open_trusted(file).is_ok() {
        return Some(command.to_owned());
    }
    let uid = fs::symlink_metadata(file).ok()?.uid();
    let owner = Account::by_uid(Uid::from_raw(uid)).filter(|owner| !owner.uid.is_root())?;
    Some(format!("runuser -u {} -- sh -c {}", quote(owner.name), quote(command)))
}

/// What makes a file trusted again; `None` where no command does without knowing what is meant.
pub fn restore_trust(distrust: &Distrust) -> Option<String> {
    Some(match distrust {
        Distrust::Owner(path, _) => format!("chown root {}", quote(path)),
        Distrust::Writable(path, _) => format!("chmod go-w {}", quote(path)),
        Distrust::Link(path) => {
            let path = quote(path);
            format!("real=$(readlink -f {path}) && rm {path} && cp -a \"$real\" {path}")
        }
        Distrust::Kind(path, _) => {
            format!("mv {} {}", quote(path), quote(format!("{}.wrong", path.display())))
        }
        Distrust::Closed(path, _) => format!("chmod a+rX {}", quote(path)),
        Distrust::Missing(_) | Distrust::Relative(_) => return None,
    })
}

/// Sets lines of a unit's `[Service]` section, in a file of our own that is read last.
pub fn add_to_unit(unit: &str, name: &str, lines: &[String]) -> String {
    let folder = quote(format!("/etc/systemd/system/{unit}.d"));
    let text: String = lines.iter().map(|line| format!("{line}\\n")).collect();
    format!(
        "mkdir -p {folder} && printf '[Service]\\n{text}' >{folder}/zz-sudospawner-{name}.conf && \
         systemctl daemon-reload"
    )
}

/// The directory of the first file system above a path that is mounted with this option; `None` if it is
/// not. `mountinfo` is the text of /proc/self/mountinfo, proc(5).
pub fn find_mount_with(mountinfo: &str, path: &Path, option: &str) -> Option<PathBuf> {
    let mut best: Option<(PathBuf, bool)> = None;
    for line in mountinfo.lines() {
        let mut fields = line.split(' ').skip(4);
        let (Some(place), Some(options)) = (fields.next(), fields.next()) else { continue };
        let place = PathBuf::from(place.replace("\\040", " "));
        // The later line hides an earlier one at the same place.
        let is_nearer = best
            .as_ref()
            .is_none_or(|(known, _)| place.as_os_str().len() >= known.as_os_str().len());
        if path.starts_with(&place) && is_nearer {
            best = Some((place, options.split(',').any(|word| word == option)));
        }
    }
    best.filter(|(_, has_option)| *has_option).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_the_shell_would_take_apart_is_quoted() {
        assert_eq!(quote("/opt/jupyterhub/bin"), "/opt/jupyterhub/bin");
        assert_eq!(quote("/a b/$(reboot)'s"), "'/a b/$(reboot)'\\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn root_touches_no_file_that_is_in_somebody_elses_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jupyterhub_config.py");
        fs::write(&file, "").unwrap();
        // Below /tmp, which everyone can write to.
        let command = run_as_owner(&file, "sed -i x");
        if nix::unistd::geteuid().is_root() {
            assert_eq!(command, None);
        }
        let trusted = Path::new("/etc/passwd");
        assert_eq!(run_as_owner(trusted, "true").as_deref(), Some("true"));
    }

    #[test]
    fn the_nearest_file_system_decides() {
        let mounts = "1 0 8:1 / / rw,nosuid - ext4 d rw\n2 1 8:2 / /usr rw - ext4 d rw\n\
                      3 2 8:3 / /usr/bin rw,nosuid shared:1 - ext4 d rw\n";
        let find = |path: &str| find_mount_with(mounts, Path::new(path), "nosuid");
        assert_eq!(find("/usr/bin/sudo"), Some(PathBuf::from("/usr/bin")));
        assert_eq!(find("/usr/sbin/sudo"), None);
        assert_eq!(find("/usrlocal"), Some(PathBuf::from("/")));
    }
}
