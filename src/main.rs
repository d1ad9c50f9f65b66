//! `sudospawner`: starts and ends a user's notebook server, called through sudo by a Hub that is
//! not root. One JSON request on stdin, one JSON reply on stdout.

mod answer;

use std::process::ExitCode;

use log::LevelFilter;
use nix::sys::stat::{Mode as FileMode, umask};
use sudospawner::account::{Account, Caller};
use sudospawner::audit::{self, Record};
use sudospawner::cli::{self, Command, Options};
use sudospawner::error::Error;
use sudospawner::hooks::Prepared;
use sudospawner::monitor::Monitor;
use sudospawner::policy::{Mode, Rules};
use sudospawner::privileges::{Unprivileged, become_nobody, become_target};
use sudospawner::{diagnostics, keeper, supervisor, system_calls};

fn main() -> ExitCode {
    if let Some(status) = supervisor::run_if_asked().or_else(keeper::run_if_asked) {
        return status;
    }
    let inherited_umask = umask(FileMode::S_IWGRP | FileMode::S_IWOTH);
    system_calls::close_inherited_descriptors();
    system_calls::own_signals();
    let command = cli::parse(std::env::args_os().skip(1));
    let logging = match &command {
        Ok(Command::Answer(options)) => options.logging,
        _ => None,
    };
    diagnostics::start_logging("sudospawner", logging.unwrap_or(LevelFilter::Info));
    let mut call =
        Call { caller: None, target: None, action: None, monitor: None, inherited_umask };
    match command {
        Ok(Command::Answer(options)) => match call.admit(&options) {
            Ok((rules, proof)) => call.answer(rules, proof),
            Err(error) => call.refuse(error),
        },
        Ok(Command::Help) => say_as_nobody(|| answer::show(cli::HELP)),
        Ok(Command::Version) => say_as_nobody(|| answer::show(VERSION)),
        Err(error) => call.refuse(error),
    }
}

const VERSION: &str = concat!("sudospawner-rs ", env!("CARGO_PKG_VERSION"), "\n");

/// Gives up root before anything is written to stdout.
fn say_as_nobody(say: impl FnOnce() -> ExitCode) -> ExitCode {
    become_nobody().map_or(ExitCode::FAILURE, |()| say())
}

/// What is known of this call, for its audit line.
struct Call {
    caller: Option<Caller>,
    target: Option<Account>,
    action: Option<&'static str>,
    /// In root mode, until the decision: the process that is still root.
    monitor: Option<Monitor>,
    inherited_umask: FileMode,
}

impl Call {
    /// Checks 1 to 4 and 7: all of the flow that this process does as root. Each stage takes what only
    /// the stage before can make; what comes out can do no more than the target.
    fn admit(&mut self, options: &Options) -> Result<(Rules, Unprivileged), Error> {
        let caller = *self.caller.insert(Caller::identify()?);
        let rules = Rules::load(options.user.as_deref())?;
        rules.admit_caller(caller)?;
        let target = rules.admit_target(options.user.as_deref())?;
        self.target = Some(target.account().clone());
        if target.mode() == Mode::Root {
            let monitor = Monitor::start(&target, rules.policy(), caller, self.inherited_umask)?;
            self.monitor = Some(monitor);
        }
        let unprivileged = become_target(Prepared::without_hooks(target), rules.policy())?;
        Ok((rules, unprivileged))
    }

    /// Writes a refusal down while root's word can be had, and says it as nobody.
    fn refuse(mut self, error: Error) -> ExitCode {
        self.audit(error.code());
        say_as_nobody(|| answer::report_failure(error.into()))
    }

    /// Writes the decision down: by the monitor as long as there is one, since in root mode what root
    /// says is a proof.
    fn audit(&mut self, code: &str) {
        if let Some(monitor) = self.monitor.take() {
            monitor.tell(self.action.unwrap_or("?"), code);
            return;
        }
        audit::write_record(&Record {
            caller: self.caller,
            target: self.target.as_ref().map(|target| target.name.as_str()),
            action: self.action,
            code,
        });
    }
}
