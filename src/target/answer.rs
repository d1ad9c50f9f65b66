//! What a call does once this process is the target, or nobody: reads the command line and the request,
//! carries the request out, and replies.

use std::ffi::OsString;
use std::process::ExitCode;

use ground::denial::Denial;
use ground::diagnostics;
use ground::wire::{Link, write_text};
use log::LevelFilter;
use nix::sys::stat::Mode as FileMode;
use root::account::Caller;
use root::audit::{self, Record};
use root::monitor::Monitor;
use root::policy::file::Policy;
use root::privileges::Unprivileged;
use root::unit_properties::Limits;

use crate::cli::{self, Command, Options};
use crate::decision::{have_attended, have_started, tell};
use crate::error::Error;
use crate::grant::Grant;
use crate::launcher::unit::{UnitStatus, measure_in_unit, stop_in_unit};
use crate::launcher::{Failure, Launched, launch_server, process};
use crate::lowered::log_lowered_limits;
use crate::mode::Mode;
use crate::process::{send_signal, stop::stop_server, usage::measure_server};
use crate::reply::Reply;
use crate::request::Request;
use crate::user_mode;

const VERSION: &str = concat!("sudospawner-rs ", env!("CARGO_PKG_VERSION"), "\n");

/// The outcome of a request.
enum Outcome {
    /// A server, which is the caller's as soon as the reply is written.
    Launched(Launched),
    /// Everything else.
    Done(Reply),
}

/// What is known of a call.
pub struct Call {
    /// The words of the command line.
    pub words: Vec<OsString>,
    /// Who called.
    pub caller: Result<Caller, Denial>,
    /// The target's name, if known.
    pub target: Option<String>,
    /// The action, if the request could be read.
    pub action: Option<&'static str>,
    /// How this program was called.
    pub mode: Mode,
    /// In root mode, until the decision: the link to the process that is still root.
    pub monitor: Option<Monitor>,
    /// The caller's umask.
    pub inherited_umask: FileMode,
}

impl Call {
    /// For user mode: sudo has made this process the target.
    pub fn answer_in_user_mode(self) -> ExitCode {
        self.answer(|call, options| {
            call.caller.clone()?;
            let (policy, proof) = user_mode::admit(options.user.as_deref())?;
            call.target = Some(proof.target().name.clone());
            Ok((policy, proof))
        })
    }

    /// For root mode, after root has read `--user` on the command line: this process was root, and is the
    /// target now.
    pub fn answer_in_root_mode(self, user: &str, policy: Policy, proof: Unprivileged) -> ExitCode {
        self.answer(|_, options| {
            if options.user.as_deref() != Some(user) {
                return Err(Error::Usage("--user has to be given once, with a name".to_owned()));
            }
            Ok((policy, proof))
        })
    }

    /// For root mode without `--user`: this process was root, and is nobody now.
    pub fn answer_without_target(self) -> ExitCode {
        self.answer(|_, _| Err(Denial::TargetIsRoot.into()))
    }

    /// Answers the call. `admit` gets the options, and decides what is permitted and as whom.
    fn answer(
        mut self,
        admit: impl FnOnce(&mut Self, &Options) -> Result<(Policy, Unprivileged), Error>,
    ) -> ExitCode {
        let outcome = match read_command_line(&self.words) {
            Ok(Command::Help) => return self.show(cli::HELP),
            Ok(Command::Version) => return self.show(VERSION),
            Ok(Command::Answer(options)) => admit(&mut self, &options)
                .map_err(Failure::from)
                .and_then(|(policy, proof)| self.carry_out(&options, policy, proof)),
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok(Outcome::Launched(launched)) => launched.deliver(),
            Ok(Outcome::Done(reply)) => write(&reply),
            Err(failure) => {
                self.write_down(failure.error.code());
                return report_failure(failure);
            }
        }
        ExitCode::SUCCESS
    }

    fn carry_out(
        &mut self,
        options: &Options,
        policy: Policy,
        proof: Unprivileged,
    ) -> Result<Outcome, Failure> {
        log_lowered_limits(&policy, &proof);
        let bytes = Request::read(std::io::stdin().lock())?;
        let request = Request::parse(&bytes)?;
        self.action = Some(request.action());
        options.check_request(request.action(), request.server_name().as_str())?;
        let grant = Grant::decide(policy, self.mode, proof, &request)?;
        let proof = grant.unprivileged();
        let mut unit = match &request {
            Request::Stop(_) | Request::Status(_) => self.attend_unit(&grant, &request)?,
            Request::Kill(_) | Request::Spawn(_) => None,
        };
        if unit.is_none() && !matches!(request, Request::Spawn(_)) {
            self.write_down("ok");
        }
        Ok(match request {
            Request::Spawn(spawn) => {
                let (name, limits) = (spawn.server_name.clone(), spawn.limits);
                let launched = launch_server(spawn, &grant, |plan| match self.monitor.take() {
                    Some(monitor) => Ok(have_started(monitor, &bytes, &name, limits)?),
                    None => {
                        self.write_down("ok");
                        process::start(plan, grant.policy(), self.inherited_umask, proof)
                    }
                })?;
                Outcome::Launched(launched)
            }
            Request::Kill(kill) => Outcome::Done(Reply::signalled(send_signal(&kill, proof)?)),
            Request::Stop(stop) => {
                let leftovers = grant.policy().server.leftovers;
                let in_unit = unit.as_mut().map(|link| stop_in_unit(&stop, leftovers, link, proof));
                Outcome::Done(Reply::stopped(match in_unit.transpose()?.flatten() {
                    Some(stopped) => stopped,
                    None => stop_server(&stop, leftovers, proof)?,
                }))
            }
            Request::Status(status) => {
                let in_unit = unit.as_mut().map(|link| measure_in_unit(&status, link, proof));
                Outcome::Done(match in_unit.transpose()?.flatten() {
                    Some(UnitStatus::Alive(usage)) => Reply::status(Some(usage)),
                    Some(UnitStatus::Ended { end, result }) => Reply::ended(end, result),
                    None => Reply::status(measure_server(&status, proof)?),
                })
            }
        })
    }

    /// Shows a text to a person. Such a call asks for nothing else.
    fn show(self, text: &str) -> ExitCode {
        if let Some(monitor) = self.monitor {
            tell(monitor, "?", "ok");
        }
        if write_text(text).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn write_down(&mut self, code: &str) {
        log_what_was_not_written(self.audit(code));
    }

    /// Records the decision. While there is a monitor, the monitor does so, because only root's own line
    /// proves anything in root mode.
    ///
    /// # Errors
    /// The line that could not be written.
    pub fn audit(&mut self, code: &str) -> Result<(), String> {
        if let Some(monitor) = self.monitor.take() {
            tell(monitor, self.action.unwrap_or("?"), code);
            return Ok(());
        }
        let (caller, target) = (self.caller.as_ref().ok().copied(), self.target.as_deref());
        audit::write_record("sudospawner", &Record { caller, target, action: self.action, code })
    }
}

/// Reports root's refusal; this process is nobody now.
pub fn deny(words: &[OsString], denial: Denial, written: Result<(), String>) -> ExitCode {
    // Root's answer takes precedence over a mistake in the command line.
    let _ = read_command_line(words);
    log_what_was_not_written(written);
    report_failure(Error::from(denial).into())
}

/// Reads the command line, and starts logging at its level.
fn read_command_line(words: &[OsString]) -> Result<Command, Error> {
    let command = cli::parse(words.iter().cloned());
    let level = match &command {
        Ok(Command::Answer(options)) => options.logging,
        _ => None,
    };
    diagnostics::start_logging("sudospawner", level.unwrap_or(LevelFilter::Info));
    command
}

fn log_what_was_not_written(written: Result<(), String>) {
    if let Err(line) = written {
        log::info!("{line}");
    }
}

impl Call {
    /// If servers run in units, keeps the monitor available for this request's unit.
    fn attend_unit(&mut self, grant: &Grant, request: &Request) -> Result<Option<Link>, Error> {
        let name = request.server_name();
        match (grant.name_unit(name)?, self.monitor.take()) {
            (Some(_), Some(monitor)) => {
                Ok(Some(have_attended(monitor, request.action(), name, Limits::default())?))
            }
            (_, monitor) => {
                self.monitor = monitor;
                Ok(None)
            }
        }
    }
}

/// Reports why a call failed.
fn report_failure(Failure { error, hooks }: Failure) -> ExitCode {
    log::error!("{error}");
    let status = error.exit_status();
    write(&Reply::failed(&error, hooks));
    ExitCode::from(status)
}

fn write(reply: &Reply) {
    if let Err(error) = reply.write() {
        log::warn!("the reply could not be written: {error}");
    }
}
