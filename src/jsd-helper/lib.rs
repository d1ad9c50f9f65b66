//! `jsd-helper` does as root what a Hub with SystemdSpawner may do, and no more.
//!
//! The command line is that of the program of the same name by Jens Elkner. As in root mode, the policy file
//! decides what may be asked for. The command that is executed is built anew from what was understood. So
//! only the server's arguments reach systemd as the caller gave them.

mod checks;
pub mod environment_file;
pub mod execution;
pub mod options;
pub mod refusal;
pub mod unit;
pub mod wish;

use std::convert::Infallible;
use std::ffi::OsString;

use checks::{
    check_group, check_place, check_program, check_slice, check_slice_stop, check_working_directory,
};
use environment_file::hold_environment_file;
use execution::execute;
use ground::control_group::Limit;
use ground::denial::Denial;
use ground::server_name::ServerName;
use ground::syslog::write_to_stderr;
use ground::system_calls::afresh::refresh_limits;
use ground::system_calls::clear_environment;
use nix::unistd::{geteuid, getuid};
use options::{Order, Run};
use refusal::Refusal;
use root::account::{Account, Caller, parse_id};
use root::audit::{Record, write_record};
use root::policy::file::Policy;
use root::privileges::become_wholly_root;
use root::unit_properties::{Limits, Property, list_own_properties, list_shared_properties};
use wish::{Wish, read_wishes};

/// What is known of a call, for its audit line.
#[derive(Default)]
struct Call {
    caller: Option<Caller>,
    target: Option<Account>,
    action: Option<String>,
}

/// Carries out a command line, without the program's name, by becoming systemd-run(1) or systemctl(1).
/// Returns only on failure.
#[must_use]
pub fn carry_out(words: Vec<OsString>) -> Refusal {
    let mut call = Call::default();
    let Err(refusal) = call.carry_out(words);
    call.audit(refusal.code);
    refusal
}

impl Call {
    fn audit(&self, code: &str) {
        let target = self.target.as_ref().map(|target| target.name.as_str());
        let action = self.action.as_deref();
        let record = Record { caller: self.caller.as_ref(), target, action, code };
        if let Err(line) = write_record("jsd-helper", &record) {
            write_to_stderr(&line);
        }
    }

    /// Does checks 1 to 4 as in root mode, and then what the order asks for.
    fn carry_out(&mut self, words: Vec<OsString>) -> Result<Infallible, Refusal> {
        if !geteuid().is_root() {
            let sentence =
                "this program is not root: it needs a setuid bit, or to be called by sudo";
            return Err(sentence.to_owned().into());
        }
        let said = Caller::identify()?;
        // Whoever starts a setuid program chooses its environment.
        let caller =
            if getuid() == geteuid() { said } else { Caller { uid: getuid(), name: None, ..said } };
        self.caller = Some(caller.clone());
        clear_environment();
        // From here on the caller cannot signal us, and the log line is root's word.
        become_wholly_root().map_err(|errno| format!("becoming root: {errno}"))?;
        // First: by its limits the caller could have root find nothing, or end it halfway.
        refresh_limits()?;
        let order = Order::parse(words)?;
        self.action = Some(order.describe());
        let policy = Policy::load_for_root()?;
        policy.admit_caller(&caller)?;
        let control = |verb, unit| ["systemctl", verb, unit].map(OsString::from).to_vec();
        let command = match order {
            Order::Run(run) => {
                let target = self.target.insert(resolve(&run.uid)?);
                if policy.admit_target(&target.name, None)?.account().uid != target.uid {
                    return Err(format!("uid {} is not {}'s alone", run.uid, target.name).into());
                }
                prepare(run, target, &policy, &caller)?
            }
            Order::Unit(verb, unit) => control(verb, unit.as_str()),
            Order::Slice(verb, slice) => {
                check_slice_stop(verb, &slice, &policy)?;
                control(verb, slice.as_str())
            }
        };
        self.audit("ok");
        Ok(execute(command)?)
    }
}

/// The account with this number or name.
fn resolve(uid: &str) -> Result<Account, Denial> {
    let account = match parse_id(uid) {
        Some(number) => Account::by_uid(number.into()),
        None => Account::by_name(uid),
    };
    account.ok_or_else(|| Denial::TargetUnknown { asked: format!("uid {uid:?}") })
}

/// Checks the unit, and makes the command that starts it.
fn prepare(
    run: Run,
    target: &Account,
    policy: &Policy,
    caller: &Caller,
) -> Result<Vec<OsString>, Refusal> {
    let wishes = read_wishes(&run.wishes)?;
    check_group(&run.gid, target)?;
    check_program(&run.program, policy)?;
    check_working_directory(&run.working_directory, target, policy)?;
    if let Some(slice) = &run.slice {
        check_slice(slice, policy)?;
    }
    for wish in &wishes {
        wish.check_against(policy)?;
        check_place(wish, &run.unit)?;
    }
    let mut properties = list_for_unit(&run, &wishes, &target.name, policy);
    if let Some(wish) = wishes.iter().find(|wish| wish.name == "EnvironmentFile") {
        let (name, path) = wish.to_property();
        let held = hold_environment_file(&path, caller);
        let held = held.map_err(|error| format!("the EnvironmentFile {path}: {error}"))?;
        properties.push((name, held));
    }
    let is_set = |limit: &Limit| {
        properties.iter().any(|(name, value)| name == limit.property() && value != "infinity")
    };
    let mut set = Limit::ALL.into_iter().filter(is_set);
    if let Some(limit) = set.find(|limit| !limit.has_controller()) {
        return Err(Denial::LimitNotHeld { limit: limit.key() }.into());
    }
    let mut words: Vec<OsString> = vec![
        "systemd-run".into(),
        format!("--unit={}", run.unit.as_str()).into(),
        format!("--uid={}", target.uid).into(),
        format!("--gid={}", target.gid).into(),
        "--working-directory".into(),
        run.working_directory.into(),
    ];
    words
        .extend(properties.iter().map(|(name, value)| format!("--property={name}={value}").into()));
    words.extend(["--".into(), run.program.into()]);
    words.extend(run.args);
    Ok(words)
}

/// The policy's properties, then the permitted ones of the call, then those that root has chosen.
fn list_for_unit(run: &Run, wishes: &[Wish], user: &str, policy: &Policy) -> Vec<Property> {
    let server = ServerName::default();
    let mut properties = list_shared_properties(policy, Limits::default(), user, &server);
    properties.extend(list_process_limits(policy));
    let umask = policy.server.umask.map(|umask| format!("{:04o}", umask.0));
    let is_bounded = policy.server.no_new_privileges;
    for (name, value) in [
        ("Type", Some("exec")),
        ("Slice", run.slice.as_ref().map(|slice| slice.as_str())),
        ("UMask", umask.as_deref()),
        ("NoNewPrivileges", is_bounded.then_some("yes")),
        ("CapabilityBoundingSet", is_bounded.then_some("")),
    ] {
        if let Some(value) = value {
            properties.retain(|(set, _)| set != name);
            properties.push((name.to_owned(), value.to_owned()));
        }
    }
    let passed =
        |wish: &&Wish| !wish.name.starts_with("RuntimeDirectory") && wish.name != "EnvironmentFile";
    properties.extend(wishes.iter().filter(passed).map(Wish::to_property));
    properties.extend(list_own_properties(policy, user, &server));
    properties
}

/// The limits of each process. The mediator's units do not have these, because they would apply to hooks.
/// Their server gets its limits when root is given up.
fn list_process_limits(policy: &Policy) -> Vec<Property> {
    let limits = &policy.limits;
    let rlimits = limits.rlimits.iter();
    rlimits
        .map(|(name, value)| (name.as_str(), *value))
        .chain(limits.open_files.map(|files| ("nofile", files)))
        .map(|(name, value)| (format!("Limit{}", name.to_ascii_uppercase()), value.to_string()))
        .collect()
}
