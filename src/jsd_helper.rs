//! `jsd-helper`: what a Hub with SystemdSpawner may do as root, and no more.
//!
//! The command line is that of the program of the same name by Jens Elkner. What it may ask for is decided
//! by the policy file, as in root mode; the command that is executed in the end is put together anew from
//! what was understood, so that no word of the caller's but the server's arguments reaches systemd as it
//! came.

pub mod environment_file;
pub mod execution;
pub mod options;
pub mod unit;
pub mod wish;

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use nix::unistd::{Gid, Group, geteuid};
use thiserror::Error as ThisError;

use crate::account::{Account, Caller, parse_id};
use crate::audit::{Record, write_record, write_to_stderr};
use crate::denial::Denial;
use crate::error::Error;
use crate::policy::Rules;
use crate::policy::file::Policy;
use crate::policy::systemd::expand;
use crate::privileges::become_wholly_root;
use crate::server_name::ServerName;
use crate::system_calls::beside_root::clear_environment;
use crate::trusted_file::{TrustedDirectory, open_trusted};
use crate::unit_name::SliceName;
use crate::unit_properties::{Limits, Property, list_own_properties, list_shared_properties};
use environment_file::hold_environment_file;
use execution::{execute, write_command};
use options::{Order, Run, Subject};
use wish::{Value, Wish};

/// The only program that a unit runs.
const SERVER: &str = "jupyterhub-singleuser";

/// Why nothing was done.
#[derive(Debug, ThisError)]
pub enum Refusal {
    /// Words are missing.
    #[error("{0}; {usage}", usage = options::USAGE)]
    Usage(&'static str),
    /// Something that the Hub may not have.
    #[error("{0}")]
    NotPermitted(String),
    /// What root mode refuses as well.
    #[error(transparent)]
    Policy(#[from] Error),
}

impl Refusal {
    /// The exit status, as the original has it.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        if matches!(self, Self::Usage(_)) { 1 } else { 99 }
    }

    fn code(&self) -> &str {
        match self {
            Self::Usage(_) => "usage",
            Self::NotPermitted(_) => "not_permitted",
            Self::Policy(error) => error.code(),
        }
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::Policy(denial.into())
    }
}

impl From<String> for Refusal {
    fn from(sentence: String) -> Self {
        Self::NotPermitted(sentence)
    }
}

/// What is known of a call, for its audit line.
#[derive(Default)]
struct Call {
    caller: Option<Caller>,
    target: Option<Account>,
    action: Option<String>,
}

/// Carries out a command line, without the program's name, by becoming systemd-run(1) or systemctl(1);
/// returns only if that is refused.
#[must_use]
pub fn carry_out(words: Vec<OsString>) -> Refusal {
    let mut call = Call::default();
    let refusal = match call.decide(words) {
        Ok(command) => {
            call.audit("ok");
            execute(&command)
        }
        Err(refusal) => refusal,
    };
    call.audit(refusal.code());
    refusal
}

impl Call {
    fn audit(&self, code: &str) {
        let target = self.target.as_ref().map(|target| target.name.as_str());
        let action = self.action.as_deref();
        let record = Record { caller: self.caller, target, action, code };
        if let Err(line) = write_record("jsd-helper", &record) {
            write_to_stderr(&line);
        }
    }

    /// Checks 1 to 4 as for root mode, then what the order asks for.
    fn decide(&mut self, words: Vec<OsString>) -> Result<Vec<OsString>, Refusal> {
        if !geteuid().is_root() {
            let sentence =
                "this program is not root: it needs a setuid bit, or to be called by sudo";
            return Err(sentence.to_owned().into());
        }
        let caller = *self.caller.insert(Caller::identify()?);
        clear_environment();
        // From here on the caller cannot signal us, and what is written down is root's word.
        become_wholly_root().map_err(|errno| format!("becoming root: {errno}"))?;
        let order = Order::parse(words)?;
        self.action = Some(order.describe());
        let rules = Rules::load()?;
        rules.admit_caller(caller)?;
        let policy = rules.read_policy()?;
        match order {
            Order::Control { verb, subject } => {
                if let Subject::Slice(slice) = &subject {
                    check_slice_stop(verb, slice, &policy)?;
                }
                Ok(["systemctl", verb, subject.as_str()].map(OsString::from).to_vec())
            }
            Order::Run(run) => {
                let account = resolve(&run.uid)?;
                self.target = Some(account.clone());
                let target = rules.admit_target(&account.name)?;
                if target.account().uid != account.uid {
                    return Err(format!("uid {} is not {}'s alone", run.uid, account.name).into());
                }
                prepare(&run, &account, &policy, caller)
            }
        }
    }
}

fn check_slice_stop(verb: &str, slice: &SliceName, policy: &Policy) -> Result<(), Refusal> {
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

fn check_slice(slice: &SliceName, policy: &Policy) -> Result<(), Refusal> {
    let own = &policy.systemd.slice;
    if slice.is_within(own) {
        return Ok(());
    }
    let (slice, own) = (slice.as_str(), own.as_str());
    Err(format!("the slice {slice} is neither systemd.slice, {own}, nor below it").into())
}

/// The account of a number or a name.
fn resolve(uid: &str) -> Result<Account, Refusal> {
    let account = match parse_id(uid) {
        Some(number) => Account::by_uid(number.into()),
        None => Account::by_name(uid),
    };
    Ok(account.ok_or_else(|| Denial::TargetUnknown { asked: format!("uid {uid:?}") })?)
}

/// Checks what a unit is to be, and makes the command that starts it.
fn prepare(
    run: &Run,
    target: &Account,
    policy: &Policy,
    caller: Caller,
) -> Result<Vec<OsString>, Refusal> {
    check_group(&run.gid, target)?;
    check_program(&run.program, policy)?;
    check_working_directory(&run.working_directory, target, policy)?;
    if let Some(slice) = &run.slice {
        check_slice(slice, policy)?;
    }
    for wish in &run.wishes {
        wish.check_against(policy)?;
        check_place(wish, run)?;
    }
    let mut properties = list_for_unit(run, target, policy);
    if let Some(path) = run.wish_for("EnvironmentFile") {
        let held = hold_environment_file(Path::new(path), caller)?;
        properties.push(("EnvironmentFile".to_owned(), held));
    }
    Ok(write_command(run, target, &properties))
}

fn check_group(gid: &str, target: &Account) -> Result<(), Refusal> {
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

fn check_program(program: &Path, policy: &Policy) -> Result<(), Refusal> {
    let has_name = program.file_name().is_some_and(|name| name == SERVER);
    let directory = policy.server.directory.as_deref();
    if !has_name || directory.is_some_and(|directory| Some(directory) != program.parent()) {
        let place = directory.map_or("a directory of root's".into(), Path::to_string_lossy);
        return Err(format!("the program of a unit has to be {SERVER} in {place}").into());
    }
    match open_trusted(program) {
        Err(distrust) => Err(Error::ServerUntrusted(distrust.to_string()).into()),
        Ok((_, stat)) if stat.st_mode & 0o111 == 0 => {
            Err(format!("{} cannot be executed (chmod a+x)", program.display()).into())
        }
        Ok(_) => Ok(()),
    }
}

fn check_working_directory(
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
fn check_place(wish: &Wish, run: &Run) -> Result<(), Refusal> {
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

/// The policy's properties, then what was asked for within them, then root's own.
fn list_for_unit(run: &Run, target: &Account, policy: &Policy) -> Vec<Property> {
    let (user, server) = (target.name.as_str(), ServerName::default());
    let mut properties = list_shared_properties(policy, Limits::default(), user, &server);
    let mut set = |name: &str, value: &str| {
        properties.retain(|(set, _)| set != name);
        properties.push((name.to_owned(), value.to_owned()));
    };
    set("Type", "exec");
    if let Some(slice) = &run.slice {
        set("Slice", slice.as_str());
    }
    if let Some(umask) = policy.server.umask {
        set("UMask", &format!("{:04o}", umask.0));
    }
    if policy.server.no_new_privileges {
        set("NoNewPrivileges", "yes");
        set("CapabilityBoundingSet", "");
    }
    let passed =
        |wish: &&Wish| !wish.name.starts_with("RuntimeDirectory") && wish.name != "EnvironmentFile";
    properties.extend(run.wishes.iter().filter(passed).map(Wish::to_property));
    properties.extend(list_own_properties(policy, user, &server));
    properties
}
