//! `sudospawner` starts and ends a user's notebook server, called through sudo by a Hub that is not root. It
//! reads one JSON request from stdin and writes one JSON reply to stdout.
//!
//! This file has what the process does before it is its target, in root mode as root. `target` has everything
//! after that. `root` and `target` meet only here.

use std::ffi::OsString;
use std::process::ExitCode;

use ground::denial::Denial;
use ground::{diagnostics, system_calls};
use log::LevelFilter;
use nix::unistd::{getegid, geteuid, getgid, getuid};
use root::account::Caller;
use root::hooks::Prepared;
use root::monitor::{Monitor, Order};
use root::options::{RootOptions, find_options};
use root::policy::file::Policy;
use root::privileges::{Unprivileged, become_nobody, become_target, give_back_ids};
use root::{foreground, keeper, subcommand};
use target::answer::{Call, deny};
use target::foreground::become_server;
use target::mode::Mode;
use target::{launcher, supervisor};

fn main() -> ExitCode {
    if let Some(status) = supervisor::run_if_asked().or_else(keeper::run_if_asked) {
        return status;
    }
    if let Some(begun) = foreground::begin_if_asked() {
        diagnostics::start_logging("sudospawner", LevelFilter::Info);
        return begun.map_or_else(|sentence| say(&sentence, ExitCode::FAILURE), become_server);
    }
    mediate()
}

/// Answers one call. Not a part of `main`, whose stack each supervisor keeps.
#[inline(never)]
fn mediate() -> ExitCode {
    let inherited_umask = system_calls::begin();
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if getuid() != geteuid() || getgid() != getegid() {
        // The ids differ, so a setuid or setgid bit gave them, to anyone who called. Give them back.
        return give_back_ids()
            .map_or(ExitCode::FAILURE, |()| deny(&words, Denial::BinarySetuid, Ok(())));
    }
    if let Some(sentence) = subcommand::execute_if_asked(&words) {
        diagnostics::start_logging("sudospawner", LevelFilter::Info);
        return say(&sentence, ExitCode::from(subcommand::REFUSED));
    }
    let caller = Caller::identify();
    system_calls::clear_environment();
    let mode = if geteuid().is_root() { Mode::Root } else { Mode::User };
    let call =
        Call { words, caller, target: None, action: None, mode, monitor: None, inherited_umask };
    match mode {
        Mode::Root => give_up_root(call),
        Mode::User => call.answer_in_user_mode(),
    }
}

fn say(sentence: &str, status: ExitCode) -> ExitCode {
    log::error!("{sentence}");
    status
}

/// Root mode: decides whether root acts and for whom, and becomes that target, or nobody to report a refusal.
fn give_up_root(mut call: Call) -> ExitCode {
    let words = call.words.clone();
    let Some(options) = find_options(&words) else {
        return become_nobody().map_or(ExitCode::FAILURE, |()| call.answer_without_target());
    };
    match admit(&mut call, options) {
        Ok((policy, proof)) => call.answer_in_root_mode(options.user, policy, proof),
        Err(denial) => {
            // Written while this process is still root, so that the line is root's.
            let written = call.audit(denial.classify().0);
            become_nobody().map_or(ExitCode::FAILURE, |()| deny(&words, denial, written))
        }
    }
}

/// Checks 2 to 4 and 7: everything that this process does as root. Each stage takes what only the stage
/// before it can make. The result can do no more than the target.
fn admit(call: &mut Call, options: RootOptions<'_>) -> Result<(Policy, Unprivileged), Denial> {
    let caller = call.caller.clone()?;
    let policy = Policy::load_for_root()?;
    policy.admit_caller(caller)?;
    let target = policy.admit_target(options.user, None)?;
    call.target = Some(target.account().name.clone());
    let order = Order {
        policy: &policy,
        options,
        caller,
        inherited_umask: call.inherited_umask,
        start_server: launcher::process::become_supervisor_of,
    };
    call.monitor = Some(Monitor::start(&target, &order)?);
    let proof = become_target(Prepared::without_hooks(target), &policy)?;
    Ok((policy, proof))
}
