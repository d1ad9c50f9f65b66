//! What is compared with policy and target before a unit is started or a slice is stopped.

use std::path::{Component, Path, PathBuf};

use nix::unistd::{Gid, Group};

use super::Refusal;
use super::options::Run;
use super::wish::{Value, Wish};
use ground::server_name::ServerName;
use ground::unit_name::SliceName;
use root::account::{Account, parse_id};
use root::policy::file::Policy;
use root::policy::systemd::expand;
use root::trusted_file::TrustedDirectory;
use root::trusted_file::program::open_trusted_program;

/// The only program that a unit runs.
const SERVER: &str = "jupyterhub-singleuser";

/// Whether a slice may be stopped: the policy says so, and which.
pub fn check_slice_stop(verb: &str, slice: &SliceName, policy: &Policy) -> Result<(), Refusal> {
    if verb != "stop" {
        return Err("a slice can be stopped, and nothing else".to_owned().into());
    }
    if !policy.systemd.allow_slice_stop {
        return Err("stopping a slice needs systemd.allow_slice_stop in the policy"
            .to_owned()
            .into());
    }
    check_slice(slice, policy)
}

/// Whether a slice is the policy's or below it.
pub fn check_slice(slice: &SliceName, policy: &Policy) -> Result<(), Refusal> {
    let own = &policy.systemd.slice;
    if slice.is_within(own) {
        return Ok(());
    }
    let (slice, own) = (slice.as_str(), own.as_str());
    Err(format!("the slice {slice} is neither systemd.slice, {own}, nor below it").into())
}

/// Whether a group, by number or name, is the target's primary one.
pub fn check_group(gid: &str, target: &Account) -> Result<(), Refusal> {
    let group = match parse_id(gid) {
        Some(number) => Some(Gid::from_raw(number)),
        None => Group::from_name(gid).ok().flatten().map(|group| group.gid),
    };
    if group == Some(target.gid) {
        return Ok(());
    }
    let (name, own) = (&target.name, target.gid);
    Err(format!("--gid has to be the primary group of {name}, {own}").into())
}

/// Whether a unit may run this program: the server, which nobody but root can have written.
pub fn check_program(program: &Path, policy: &Policy) -> Result<(), Refusal> {
    let has_name = program.file_name().is_some_and(|name| name == SERVER);
    let directory = policy.server.directory.as_deref();
    if !has_name || directory.is_some_and(|directory| Some(directory) != program.parent()) {
        let place = directory.map_or("a directory of root's".into(), Path::to_string_lossy);
        return Err(format!("the program of a unit has to be {SERVER} in {place}").into());
    }
    match open_trusted_program(program) {
        Err(distrust) => Err(Refusal::ServerUntrusted(distrust)),
        Ok((_, stat)) if stat.st_mode & 0o111 == 0 => {
            Err(format!("{} cannot be executed (chmod a+x)", program.display()).into())
        }
        Ok(_) => Ok(()),
    }
}

/// Whether a server may start there: in the home, where the policy says, or below.
pub fn check_working_directory(
    directory: &Path,
    target: &Account,
    policy: &Policy,
) -> Result<(), Refusal> {
    let own = policy.systemd.working_directory.as_ref();
    let own = own.map(|own| expand(&own.0, &target.name, &ServerName::default()));
    let is_plain = directory
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let is_within = directory.starts_with(&target.home)
        || own.as_ref().is_some_and(|own| directory.starts_with(own));
    if is_plain && is_within && directory.is_absolute() {
        return Ok(());
    }
    let home = target.home.display();
    Err(format!("the working directory has to be {home}, systemd.working_directory, or below")
        .into())
}

/// Checks the paths of a property: nobody but root can have a hand in what systemd does with them.
pub fn check_place(wish: &Wish, run: &Run) -> Result<(), Refusal> {
    match (&wish.value, wish.name.as_str()) {
        (Value::Paths(paths), _) => paths.iter().try_for_each(|path| check_mount_path(path)),
        (Value::Text(text), "RuntimeDirectory") => {
            if run.unit.list_directories().iter().any(|own| own == text) {
                return Ok(());
            }
            Err(format!("RuntimeDirectory has to be jhub/{}", run.unit.stem()).into())
        }
        (Value::Text(text), "EnvironmentFile") => {
            let (path, run_directory) = (PathBuf::from(text), Path::new("/run"));
            let mut places = run.unit.list_directories().into_iter();
            let is_file = matches!(path.components().next_back(), Some(Component::Normal(_)));
            let is_place =
                places.any(|own| path.parent() == Some(&run_directory.join(own))) && is_file;
            if is_place && !text.contains(char::is_control) {
                return Ok(());
            }
            Err(format!("EnvironmentFile has to be a file in /run/jhub/{}/", run.unit.stem())
                .into())
        }
        _ => Ok(()),
    }
}

/// systemd binds the path to itself, as root. Could its target replace a directory above it meanwhile, it
/// would be another path that is bound.
fn check_mount_path(path: &str) -> Result<(), Refusal> {
    let path = Path::new(path.strip_prefix('-').unwrap_or(path));
    let Some(above) = path.parent() else { return Ok(()) };
    match TrustedDirectory::open(above) {
        Ok(_) => Ok(()),
        Err(distrust) => {
            Err(format!("{} cannot be mounted anew: {distrust}", path.display()).into())
        }
    }
}
