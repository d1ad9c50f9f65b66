//! `sudospawner` starts and ends a user's notebook server, called through sudo by a Hub that is not root, or through
//! the socket of `sudospawner-door`. It reads one JSON request from stdin and writes one JSON reply to stdout.
//!
//! This file has what the process does before it is its target, in root mode as root. `target` has everything
//! after that. `root` and `target` meet only here.

use std::ffi::OsString;
use std::process::ExitCode;

use ground::denial::Denial;
use ground::system_calls::afresh::refresh_limits;
use ground::{diagnostics, system_calls};
use log::LevelFilter;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getegid, geteuid, getgid, getuid};
use root::account::Caller;
use root::connection::{self, Connection, FirstLine};
use root::monitor::{Monitor, Order};
use root::options::{RootOptions, find_options};
use root::policy::file::Policy;
use root::privileges::{Unprivileged, become_nobody, give_back_ids};
use root::{foreground, keeper, session, subcommand};
use target::answer::{Call, deny};
use target::{agent, files, launcher, supervisor};

fn main() -> ExitCode {
    if getuid() != geteuid() || getgid() != getegid() {
        return refuse_setuid();
    }
    let asked = supervisor::run_if_asked().or_else(keeper::run_if_asked);
    let asked = asked.or_else(foreground::run_hooks_after_if_asked);
    if let Some(status) = asked.or_else(files::remover::run_if_asked) {
        return status;
    }
    let resumed = session::resume_if_asked().map(Ok);
    if let Some(begun) = resumed.or_else(foreground::begin_if_asked) {
        return begun
            .map_or_else(|sentence| complain(&sentence, ExitCode::FAILURE), launcher::go_on);
    }
    mediate()
}

/// The ids differ, so a setuid or setgid bit gave them, to anyone who called, by whatever name. Gives them back. Comes
/// first: some names are those of processes that root starts itself.
#[inline(never)]
fn refuse_setuid() -> ExitCode {
    system_calls::begin();
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    give_back_ids().map_or(ExitCode::FAILURE, |()| deny(&words, Denial::BinarySetuid, Ok(())))
}

/// Answers one call. Not a part of `main`, whose stack each supervisor keeps.
#[inline(never)]
fn mediate() -> ExitCode {
    let inherited_umask = system_calls::begin();
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(sentence) = subcommand::execute_if_asked(&words) {
        return complain(&sentence, ExitCode::from(subcommand::REFUSED));
    }
    let connection = connection::accept_if_asked(&words);
    let caller = Caller::identify();
    system_calls::clear_environment();
    let mut call = Call::new(words, caller, inherited_umask);
    if let Some(Connection { caller, line }) = connection {
        call.caller = Ok(caller);
        call.words.clear();
        return match line {
            Ok(FirstLine { words, action }) => give_up_root(Call { words, ..call }, Some(&action)),
            Err(denial) => refuse(call, denial),
        };
    }
    if geteuid().is_root() { give_up_root(call, None) } else { call.answer_in_user_mode() }
}

/// For a process that cannot even reply.
fn complain(sentence: &str, status: ExitCode) -> ExitCode {
    diagnostics::start_logging("sudospawner", LevelFilter::Info);
    log::error!("{sentence}");
    status
}

/// Root mode: leaves everything that needs root to the monitor, and becomes nobody to answer the call. `announced` is
/// the action that a connection's first line says.
fn give_up_root(mut call: Call, announced: Option<&str>) -> ExitCode {
    // sudo passes this signal on for the caller, and root's part would wait for a stopped process.
    let _ = SigSet::from(Signal::SIGTSTP).thread_block();
    let words = call.words.clone();
    let Some(options) = find_options(&words) else {
        return become_nobody_and(|proof| call.answer_without_target(&proof));
    };
    let options = RootOptions { action: announced.or(options.action), ..options };
    match start_monitor(&mut call, options) {
        Ok(policy) => become_nobody_and(|proof| call.answer_in_root_mode(options, &policy, &proof)),
        Err(denial) => refuse(call, denial),
    }
}

/// Replies as nobody that nothing is done. The line in the log is written before, so that it is root's.
fn refuse(mut call: Call, denial: Denial) -> ExitCode {
    let written = call.audit(denial.classify().0);
    become_nobody_and(|_| deny(&call.words, denial, written))
}

/// Where this fails, for instance in a user namespace without nobody's uid, root says so itself.
fn become_nobody_and(answer: impl FnOnce(Unprivileged<()>) -> ExitCode) -> ExitCode {
    become_nobody().map_or_else(|denial| complain(&denial.to_string(), ExitCode::FAILURE), answer)
}

/// Check 2 and the policy. The monitor does everything else that is done as root.
fn start_monitor(call: &mut Call, options: RootOptions<'_>) -> Result<Policy, Denial> {
    let caller = call.caller.as_ref().map_err(Clone::clone)?;
    // First: by its limits the caller could have root find nothing, or end root's part halfway.
    let limits = refresh_limits()?;
    let policy = Policy::load_for_root()?;
    let order = Order {
        policy: &policy,
        options,
        caller,
        inherited_umask: call.inherited_umask,
        inherited_limits: &limits,
        supervise: launcher::start_for_monitor,
        act: agent::act_for_monitor,
    };
    call.monitor = Some(Monitor::start(&order)?);
    Ok(policy)
}
