//! Commands that mend something. Each is one line for root's shell with every name quoted.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid};

pub use crate::quoting::quote;
use root::account::Account;
use root::trusted_file::{Distrust, TrustedDirectory, open_trusted};

/// A command that changes or executes files, run as the account that could change these files: root must
/// execute and follow nothing that others could have placed there. `None` if several accounts could.
pub fn run_as_owner(files: &[&Path], command: &str) -> Option<String> {
    run_as(find_owner(files)?, command)
}

/// A command in root's shell that runs as this account, in a separate terminal. In root's terminal, another
/// account's process could type, and read for as long as it likes.
pub fn run_as(uid: Uid, command: &str) -> Option<String> {
    if uid.is_root() {
        return Some(command.to_owned());
    }
    let owner = Account::by_uid(uid)?;
    Some(format!("runuser --pty -u {} -- sh -c {}", quote(owner.name), quote(command)))
}

/// The account other than root that could change these files, or root. `None` if several accounts could.
pub fn find_owner(files: &[&Path]) -> Option<Uid> {
    let mut owners = BTreeSet::new();
    for file in files {
        owners.insert(match walk(file).end {
            End::There(_) | End::Missing => 0,
            End::Theirs { owner, .. } => owner,
            End::Unknown => return None,
        });
    }
    let others: Vec<u32> = owners.into_iter().filter(|uid| *uid != 0).collect();
    match others.as_slice() {
        [] => Some(Uid::from_raw(0)),
        [uid] => Some(Uid::from_raw(*uid)),
        _ => None,
    }
}

/// The same if a command is needed: a file that several accounts could change is first given to root.
pub fn mend_as_owner(file: &Path, command: &str) -> String {
    run_as_owner(&[file], command).unwrap_or_else(|| {
        let distrust = match TrustedDirectory::open(file) {
            Err(Distrust::Kind(..)) => open_trusted(file).err(),
            opened => opened.err(),
        };
        // Shows the owners and modes to a person.
        let show = || format!("namei --long {}", quote(file));
        distrust.as_ref().and_then(restore_trust).unwrap_or_else(show)
    })
}

/// The number of links that Linux follows on a path, path_resolution(7).
const MAX_LINKS: u8 = 40;

/// A path, followed as far as it leads only through what is root's alone, including links and their targets.
/// What is behind another account's directory or link is not looked at: it could be anything, and block root.
#[derive(Debug)]
pub struct Way {
    /// What it leads through, including the end if that is root's.
    pub passed: Vec<Step>,
    /// Where it ends.
    pub end: End,
}

/// One step of a path.
#[derive(Debug)]
pub struct Step {
    /// Its path.
    pub path: PathBuf,
    mode: u32,
    gid: u32,
}

/// Where a path ends.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// At this file, which is root's alone.
    There(PathBuf),
    /// At nothing.
    Missing,
    /// At something that another account owns.
    Theirs {
        /// The owner.
        owner: u32,
        /// Where that begins.
        at: PathBuf,
        /// Whether it is the end of the path and not a link.
        is_last: bool,
    },
    /// At something that is closed to us, or that group or others can write to.
    Unknown,
}

impl Step {
    /// The permission bit that the account lacks to enter or execute something of root's. Access control
    /// lists are not considered.
    pub fn find_lacking(&self, account: &Account) -> Option<&'static str> {
        let groups = account.list_groups(account.gid).unwrap_or_default();
        let is_member = groups.contains(&Gid::from_raw(self.gid));
        let (bit, command) = if is_member { (0o010, "g+x") } else { (0o001, "o+x") };
        (self.mode & bit == 0).then_some(command)
    }
}

/// Follows a path.
pub fn walk(path: &Path) -> Way {
    let mut passed = Vec::new();
    let end = walk_on(path, MAX_LINKS, &mut passed).unwrap_or(End::Unknown);
    Way { passed, end }
}

fn walk_on(path: &Path, links: u8, passed: &mut Vec<Step>) -> Option<End> {
    let mut walked = PathBuf::new();
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        walked.push(part);
        let file = match fs::symlink_metadata(&walked) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Some(End::Missing),
            file => file.ok()?,
        };
        let is_link = file.is_symlink();
        if !is_link && file.mode() & 0o022 != 0 {
            return None;
        }
        if file.uid() != 0 {
            let is_last = !is_link && parts.as_path().as_os_str().is_empty();
            return Some(End::Theirs { owner: file.uid(), at: walked, is_last });
        }
        if is_link {
            let target = walked.parent()?.join(fs::read_link(&walked).ok()?);
            return walk_on(&target.join(parts.as_path()), links.checked_sub(1)?, passed);
        }
        passed.push(Step { path: walked.clone(), mode: file.mode(), gid: file.gid() });
    }
    Some(End::There(walked))
}

/// What makes a file trusted again; `None` if no command can do so without knowing what is intended.
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

/// Sets lines in a unit's `[Service]` section, in our own file, which is read last.
pub fn add_to_unit(unit: &str, name: &str, lines: &[String]) -> String {
    let folder = quote(format!("/etc/systemd/system/{unit}.d"));
    let text: String = lines.iter().map(|line| format!("{line}\\n")).collect();
    format!(
        "mkdir -p {folder} && printf '[Service]\\n{text}' >{folder}/zz-sudospawner-{name}.conf && \
         systemctl daemon-reload"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_touches_no_file_that_is_in_somebody_elses_place() {
        let as_root = Some("true".to_owned());
        assert_eq!(run_as_owner(&[Path::new("/etc/passwd")], "true"), as_root);
        // Everyone can write to /tmp, whoever owns what is in it.
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        assert_eq!(run_as_owner(&[folder.path()], "true"), None);
        let somebody = Account::by_uid(Uid::from_raw(65534)).unwrap();
        if nix::unistd::geteuid().is_root() {
            let folder = tempfile::tempdir_in("/root").unwrap();
            let file = folder.path().join("x");
            fs::write(&file, "").unwrap();
            nix::unistd::chown(folder.path(), Some(somebody.uid), None).unwrap();
            let expected = format!("runuser --pty -u {} -- sh -c true", somebody.name);
            // Also through a link of root's, since the target of the link matters.
            let link = tempfile::tempdir_in("/root").unwrap();
            std::os::unix::fs::symlink(folder.path(), link.path().join("link")).unwrap();
            for path in [file, link.path().join("link/x")] {
                assert_eq!(run_as_owner(&[&path], "true"), Some(expected.clone()));
            }
        }
        let missing = Path::new("/etc/no-such-file");
        assert_eq!(run_as_owner(&[missing], "true").as_deref(), Some("true"));
    }
}
