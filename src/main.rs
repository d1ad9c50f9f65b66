//! `sudospawner`: starts and ends a user's notebook server, called through sudo by a Hub that is
//! not root. One JSON request on stdin, one JSON reply on stdout.
//!
//! Here is what this process does before it is its target, in root mode as root; the rest is in
//! `answer`.

mod answer;

use std::ffi::OsString;
use std::process::ExitCode;

use nix::sys::stat::Mode as FileMode;
use nix::unistd::{getegid, geteuid, getgid, getuid};
use sudospawner::account::Caller;
use sudospawner::audit::{self, Record};
use sudospawner::denial::Denial;
use sudospawner::hooks::Prepared;
use sudospawner::monitor::Monitor;
use sudospawner::policy::Rules;
use sudospawner::privileges::{Unprivileged, become_nobody, become_target, give_back_ids};
use sudospawner::root_options::{RootOptions, find_options};
use sudospawner::{foreground, keeper, subcommands, supervisor, system_calls};

fn main() -> ExitCode {
    let started_as =
        supervisor::run_if_asked().or_else(keeper::run_if_asked).or_else(foreground::run_if_asked);
    if let Some(status) = started_as {
        return status;
    }
    let inherited_umask = system_calls::begin();
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if getuid() != geteuid() || getgid() != getegid() {
        // sudo makes this program who it is; a setuid bit does it for anyone. What it gave is given back.
        return give_back_ids()
            .map_or(ExitCode::FAILURE, |()| answer::deny(&words, Denial::BinarySetuid, Ok(())));
    }
    if let Some(status) = subcommands::run_if_asked() {
        return status;
    }
    let caller = Caller::identify();
    system_calls::clear_environment();
    let call = Call { caller, target: None, action: None, monitor: None, inherited_umask };
    if geteuid().is_root() { call.give_up_root(&words) } else { call.answer_in_user_mode(&words) }
}

/// What is known of this call, for its audit line.
struct Call {
    caller: Result<Caller, Denial>,
    target: Option<String>,
    action: Option<&'static str>,
    /// In root mode, until the decision: the process that is still root.
    monitor: Option<Monitor>,
    inherited_umask: FileMode,
}

impl Call {
    /// Root mode: decides whether root does anything, and for whom, and becomes that target; or nobody,
    /// to say that it does not.
    fn give_up_root(mut self, words: &[OsString]) -> ExitCode {
        let Some(options) = find_options(words) else {
            return become_nobody()
                .map_or(ExitCode::FAILURE, |()| self.answer_without_target(words));
        };
        match self.admit(options) {
            Ok((rules, proof)) => self.answer_in_root_mode(words, options, &rules, proof),
            Err(denial) => {
                // While this process is still root, so that the line is root's.
                let written = self.audit(denial.classify().0);
                become_nobody().map_or(ExitCode::FAILURE, |()| answer::deny(words, denial, written))
            }
        }
    }

    /// Checks 2 to 4 and 7: all of the flow that this process does as root. Each stage takes what only
    /// the stage before can make; what comes out can do no more than the target.
    fn admit(&mut self, options: RootOptions<'_>) -> Result<(Rules, Unprivileged), Denial> {
        let caller = self.caller.clone()?;
        let rules = Rules::load()?;
        rules.admit_caller(caller)?;
        let target = rules.admit_target(options.user, None)?;
        self.target = Some(target.account().name.clone());
        let monitor = Monitor::start(&target, &rules, options, caller, self.inherited_umask)?;
        self.monitor = Some(monitor);
        let proof = become_target(Prepared::without_hooks(target), rules.authority())?;
        Ok((rules, proof))
    }

    /// Writes the decision down: by the monitor as long as there is one, since in root mode what root
    /// says is a proof. What could not be written comes back.
    fn audit(&mut self, code: &str) -> Result<(), String> {
        if let Some(monitor) = self.monitor.take() {
            monitor.tell(self.action.unwrap_or("?"), code);
            return Ok(());
        }
        let (caller, target) = (self.caller.as_ref().ok().copied(), self.target.as_deref());
        audit::write_record("sudospawner", &Record { caller, target, action: self.action, code })
    }
}
