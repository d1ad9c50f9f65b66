//! Compares a call with the policy and the target before a unit is started or a slice is stopped.

use std::path::{Component, Path};

use nix::unistd::{Gid, Group};

use super::refusal::Refusal;
use super::unit::HubUnit;
use super::wish::{Value, Wish};
use ground::placeholders::expand;
use ground::server_name::ServerName;
use ground::unit_name::SliceName;
use root::account::{Account, parse_id};
use root::policy::file::Policy;
use root::trusted_file::TrustedDirectory;
use root::trusted_file::program::open_trusted_program;

/// The only program that a unit may run.
const SERVER: &str = "jupyterhub-singleuser";

/// Checks that the policy lets this slice be stopped.
pub fn check_slice_stop(verb: &str, slice: &SliceName, policy: &Policy) -> Result<(), String> {
    if verb != "stop" {
        return Err("a slice can be stopped, and nothing else".to_owned());
    }
    if !policy.systemd.allow_slice_stop {
        return Err("stopping a slice needs systemd.allow_slice_stop in the policy".to_owned());
    }
    check_slice(slice, policy)
}

/// Checks that a slice is the policy's or below it.
pub fn check_slice(slice: &SliceName, policy: &Policy) -> Result<(), String> {
    if slice.is_within(&policy.systemd.slice) {
        return Ok(());
    }
    let (slice, own) = (slice.as_str(), policy.systemd.slice.as_str());
    Err(format!("the slice {slice} is neither systemd.slice, {own}, nor below it"))
}

/// Checks that a group, given by number or name, is the target's primary one.
pub fn check_group(gid: &str, target: &Account) -> Result<(), String> {
    let group = match parse_id(gid) {
        Some(number) => Some(Gid::from_raw(number)),
        None => Group::from_name(gid).ok().flatten().map(|group| group.gid),
    };
    if group == Some(target.gid) {
        return Ok(());
    }
    Err(format!("--gid has to be the primary group of {}, {}", target.name, target.gid))
}

/// Checks that a unit may run this program: it must be the server, and only root can have written it.
pub fn check_program(program: &Path, policy: &Policy) -> Result<(), Refusal> {
    let has_name = program.file_name().is_some_and(|name| name == SERVER);
    let directory = policy.server.directory.as_deref();
    if !has_name || directory.is_some_and(|directory| Some(directory) != program.parent()) {
        let place = directory.map_or("a directory of root's".into(), Path::to_string_lossy);
        return Err(format!("the program of a unit has to be {SERVER} in {place}").into());
    }
    let opened = open_trusted_program(program);
    let (_, stat) = opened?;
    if stat.st_mode & 0o111 == 0 {
        return Err(format!("{} cannot be executed (chmod a+x)", program.display()).into());
    }
    Ok(())
}

/// Checks that a server may start there: in the home, where the policy says, or below these.
pub fn check_working_directory(
    directory: &Path,
    target: &Account,
    policy: &Policy,
) -> Result<(), String> {
    let own = policy.systemd.working_directory.as_ref();
    let own = own.map(|own| expand(&own.0, &target.name, &ServerName::default()));
    let is_within =
        directory.starts_with(&target.home) || own.is_some_and(|own| directory.starts_with(own));
    let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if is_within && directory.is_absolute() && directory.components().all(is_plain) {
        return Ok(());
    }
    let home = target.home.display();
    Err(format!("the working directory has to be {home}, systemd.working_directory, or below"))
}

/// Checks the paths of a property: only root may influence what systemd does with them.
pub fn check_place(wish: &Wish, unit: &HubUnit) -> Result<(), String> {
    // The unit's name may be given in either form.
    let own = [unit.stem(), unit.as_str()].map(|name| format!("jhub/{name}"));
    match (wish.name.as_str(), &wish.value) {
        (_, Value::Paths(paths)) => paths.iter().try_for_each(|path| check_mount_path(path)),
        ("RuntimeDirectory", Value::Text(text)) if !own.contains(text) => {
            Err(format!("RuntimeDirectory has to be jhub/{}", unit.stem()))
        }
        ("EnvironmentFile", Value::Text(text)) => {
            let path = Path::new(text);
            let mut places = own.iter().map(|own| Path::new("/run").join(own));
            let is_file = path.file_name().is_some() && !text.contains(char::is_control);
            if is_file && places.any(|place| path.parent() == Some(&place)) {
                return Ok(());
            }
            Err(format!("EnvironmentFile has to be a file in /run/jhub/{}/", unit.stem()))
        }
        _ => Ok(()),
    }
}

/// systemd, as root, binds the path to itself. If the target could replace a directory above it meanwhile,
/// systemd would bind another path.
fn check_mount_path(path: &str) -> Result<(), String> {
    let path = Path::new(path.strip_prefix('-').unwrap_or(path));
    let Some(above) = path.parent() else { return Ok(()) };
    let opened = TrustedDirectory::open(above).map(drop);
    opened.map_err(|distrust| format!("{} cannot be mounted anew: {distrust}", path.display()))
}
