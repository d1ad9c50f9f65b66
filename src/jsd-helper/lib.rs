//! `jsd-helper`: what a Hub with SystemdSpawner may do as root, and no more.
//!
//! The command line is that of the program of the same name by Jens Elkner. What it may ask for is decided
//! by the policy file, as in root mode; the command that is executed in the end is put together anew from
//! what was understood, so that no word of the caller's but the server's arguments reaches systemd as it
//! came.

mod checks;
pub mod environment_file;
pub mod execution;
pub mod options;
pub mod unit;
pub mod wish;

use std::ffi::OsString;
use std::path::Path;

use nix::unistd::geteuid;
use thiserror::Error as ThisError;

use checks::{
    check_group, check_place, check_program, check_slice, check_slice_stop, check_working_directory,
};
use environment_file::hold_environment_file;
use execution::{execute, write_command};
use ground::denial::Denial;
use ground::server_name::ServerName;
use ground::system_calls::clear_environment;
use options::{Order, Run, Subject};
use root::account::{Account, Caller, parse_id};
use root::audit::{Record, write_record, write_to_stderr};
use root::policy::file::Policy;
use root::privileges::become_wholly_root;
use root::trusted_file::Distrust;
use root::unit_properties::{Limits, Property, list_own_properties, list_shared_properties};
use wish::Wish;

/// Why nothing was done.
#[derive(Debug, ThisError)]
pub enum Refusal {
    /// Words are missing.
    #[error("{0}; {usage}", usage = options::USAGE)]
    Usage(&'static str),
    /// Something that the Hub may not have.
    #[error("{0}")]
    NotPermitted(String),
    /// Others than root could have written the server.
    #[error("the server's executable is not trusted: {0}")]
    ServerUntrusted(Distrust),
    /// What root mode refuses as well.
    #[error(transparent)]
    Policy(#[from] Denial),
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
            Self::ServerUntrusted(_) => "server_untrusted",
            Self::Policy(denial) => denial.classify().0,
        }
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
        let policy = Policy::load_for_root()?;
        policy.admit_caller(caller)?;
        match order {
            Order::Control { verb, subject } => {
                if let Subject::Slice(slice) = &subject {
                    check_slice_stop(verb, slice, &policy)?;
                }
                Ok(["systemctl", verb, subject.as_str()].map(OsString::from).to_vec())
            }
            Order::Run(mut run) => {
                let account = resolve(&run.uid)?;
                self.target = Some(account.clone());
                let target = policy.admit_target(&account.name, None)?;
                if target.account().uid != account.uid {
                    return Err(format!("uid {} is not {}'s alone", run.uid, account.name).into());
                }
                run.read_wishes()?;
                prepare(&run, &account, &policy, caller)
            }
        }
    }
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

/// The policy's properties, then what was asked for within them, then root's own.
fn list_for_unit(run: &Run, target: &Account, policy: &Policy) -> Vec<Property> {
    let (user, server) = (target.name.as_str(), ServerName::default());
    let mut properties = list_shared_properties(policy, Limits::default(), user, &server);
    properties.extend(list_process_limits(policy));
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

/// The limits of each process. The mediator's units do without these: there hooks are not to have them, and the
/// server gets them when root is given up.
fn list_process_limits(policy: &Policy) -> Vec<Property> {
    let limits = &policy.limits;
    let rlimits = limits.rlimits.iter();
    rlimits
        .map(|(name, value)| (name.as_str(), *value))
        .chain(limits.open_files.map(|files| ("nofile", files)))
        .map(|(name, value)| (format!("Limit{}", name.to_ascii_uppercase()), value.to_string()))
        .collect()
}
