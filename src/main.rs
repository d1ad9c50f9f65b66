//! `sudospawner`: starts and ends a user's notebook server, called through sudo by a Hub that is
//! not root. One JSON request on stdin, one JSON reply on stdout.

use std::process::ExitCode;

use log::LevelFilter;
use nix::sys::stat::{Mode as FileMode, umask};
use sudospawner::account::{Account, Caller};
use sudospawner::audit::{self, Record};
use sudospawner::cli::{self, Command, Options};
use sudospawner::hooks::Prepared;
use sudospawner::launcher::{Failure, Launched, launch_server, process};
use sudospawner::monitor::Monitor;
use sudospawner::policy::{Mode, Rules};
use sudospawner::privileges::become_target;
use sudospawner::process::{send_signal, stop::stop_server, usage::measure_server};
use sudospawner::reply::{self, Reply};
use sudospawner::request::Request;
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
    match command {
        Ok(Command::Help) => show(cli::HELP),
        Ok(Command::Version) => show(concat!("sudospawner-rs ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Answer(options)) => Call::default().answer(&options, inherited_umask),
        Err(error) => Call::default().fail(error.into()),
    }
}

fn show(text: &str) -> ExitCode {
    if reply::write_text(text).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What came of a request.
enum Outcome {
    /// A server that is the caller's as soon as the reply is written.
    Launched(Launched),
    /// Everything else.
    Done(Reply),
}

/// What is known of this call, for its audit line.
#[derive(Default)]
struct Call {
    caller: Option<Caller>,
    target: Option<Account>,
    action: Option<&'static str>,
    /// In root mode, until the decision: the process that is still root.
    monitor: Option<Monitor>,
}

impl Call {
    fn answer(mut self, options: &Options, inherited_umask: FileMode) -> ExitCode {
        match self.carry_out(options, inherited_umask) {
            Err(failure) => self.fail(failure),
            Ok(Outcome::Launched(launched)) => {
                launched.deliver();
                ExitCode::SUCCESS
            }
            Ok(Outcome::Done(reply)) => {
                write(&reply);
                ExitCode::SUCCESS
            }
        }
    }

    /// The flow. Each stage takes what only the stage before can make; the request is read when there
    /// is nothing left of root.
    fn carry_out(&mut self, options: &Options, umask: FileMode) -> Result<Outcome, Failure> {
        let caller = *self.caller.insert(Caller::identify()?);
        let rules = Rules::load(options.user.as_deref())?;
        rules.admit_caller(caller)?;
        let target = rules.admit_target(options.user.as_deref())?;
        self.target = Some(target.account().clone());
        if target.mode() == Mode::Root {
            self.monitor = Some(Monitor::start(&target, rules.policy(), caller, umask)?);
        }
        let unprivileged = become_target(Prepared::without_hooks(target), rules.policy())?;
        let bytes = Request::read(std::io::stdin().lock())?;
        let request = Request::parse(&bytes)?;
        self.action = Some(request.action());
        let grant = rules.grant(unprivileged, &request)?;
        if !matches!(request, Request::Spawn(_)) {
            self.audit("ok");
        }
        let proof = grant.unprivileged();
        Ok(match request {
            Request::Spawn(spawn) => {
                let name = spawn.server_name.clone();
                let launched = launch_server(spawn, &grant, |plan| match self.monitor.take() {
                    Some(monitor) => monitor.spawn(&bytes, &name),
                    None => {
                        self.audit("ok");
                        process::start(plan, grant.policy(), umask, proof)
                    }
                })?;
                Outcome::Launched(launched)
            }
            Request::Kill(kill) => Outcome::Done(Reply::signalled(send_signal(&kill, proof)?)),
            Request::Stop(stop) => {
                let leftovers = grant.policy().server.leftovers;
                Outcome::Done(Reply::stopped(stop_server(&stop, leftovers, proof)?))
            }
            Request::Status(status) => {
                Outcome::Done(Reply::status(measure_server(&status, proof)?))
            }
        })
    }

    fn fail(&mut self, Failure { error, hooks }: Failure) -> ExitCode {
        self.audit(error.code());
        log::error!("{error}");
        let status = error.exit_status();
        write(&Reply::failed(&error, hooks));
        ExitCode::from(status)
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

fn write(reply: &Reply) {
    if let Err(error) = reply.write() {
        log::warn!("the reply could not be written: {error}");
    }
}
