//! What a call does once it is its target, or nobody: reads the command line and the request, carries it
//! out, and replies.

use std::ffi::OsString;
use std::process::ExitCode;

use log::LevelFilter;
use sudospawner::cli::{self, Command, Options};
use sudospawner::denial::Denial;
use sudospawner::diagnostics;
use sudospawner::error::Error;
use sudospawner::hooks::Prepared;
use sudospawner::launcher::link::Link;
use sudospawner::launcher::unit::{UnitStatus, measure_in_unit, stop_in_unit};
use sudospawner::launcher::{Failure, Launched, launch_server, process};
use sudospawner::policy::file::Policy;
use sudospawner::policy::grant::Grant;
use sudospawner::policy::{Rules, user_mode};
use sudospawner::privileges::lowered::log_lowered_limits;
use sudospawner::privileges::{Unprivileged, become_target};
use sudospawner::process::{send_signal, stop::stop_server, usage::measure_server};
use sudospawner::reply::{self, Reply};
use sudospawner::request::{Limits, Request};
use sudospawner::root_options::RootOptions;

use crate::Call;

const VERSION: &str = concat!("sudospawner-rs ", env!("CARGO_PKG_VERSION"), "\n");

/// What came of a request.
enum Outcome {
    /// A server that is the caller's as soon as the reply is written.
    Launched(Launched),
    /// Everything else.
    Done(Reply),
}

impl Call {
    /// In user mode: sudo has become the target.
    pub fn answer_in_user_mode(self, words: &[OsString]) -> ExitCode {
        self.answer(words, |call, options| {
            call.caller.clone()?;
            let (target, policy) = user_mode::admit(options.user.as_deref())?;
            call.target = Some(target.account().name.clone());
            let authority = policy.authority();
            let proof = become_target(Prepared::without_hooks(target), &authority)?;
            log_lowered_limits(&authority, &proof);
            Ok((policy, proof))
        })
    }

    /// In root mode, where root has read `read` of the command line: this process was root, and is the target
    /// now.
    pub fn answer_in_root_mode(
        self,
        words: &[OsString],
        read: RootOptions<'_>,
        rules: &Rules,
        proof: Unprivileged,
    ) -> ExitCode {
        self.answer(words, |_, options| {
            if options.user.as_deref() != Some(read.user) {
                return Err(Error::Usage("--user has to be given once, with a name".to_owned()));
            }
            log_lowered_limits(rules.authority(), &proof);
            Ok((rules.read_policy()?, proof))
        })
    }

    /// For root that was not told whose server it is about: this process was root, and is nobody now.
    pub fn answer_without_target(self, words: &[OsString]) -> ExitCode {
        self.answer(words, |_, _| Err(Denial::TargetIsRoot.into()))
    }

    /// Answers the call. `admit` tells what may be done when the options are known, and as whom.
    fn answer(
        mut self,
        words: &[OsString],
        admit: impl FnOnce(&mut Self, &Options) -> Result<(Policy, Unprivileged), Error>,
    ) -> ExitCode {
        let outcome = match read_command_line(words) {
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
        let bytes = Request::read(std::io::stdin().lock())?;
        let request = Request::parse(&bytes)?;
        self.action = Some(request.action());
        options.check_request(request.action(), request.server_name().as_str())?;
        let grant = policy.grant(proof, &request)?;
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
                    Some(monitor) => monitor.spawn(&bytes, &name, limits),
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

    /// Shows a text to a person, who asks for nothing else.
    fn show(self, text: &str) -> ExitCode {
        if let Some(monitor) = self.monitor {
            monitor.tell("?", "ok");
        }
        if reply::write_text(text).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn write_down(&mut self, code: &str) {
        log_what_was_not_written(self.audit(code));
    }
}

/// Says what root has denied; this process is nobody now.
pub fn deny(words: &[OsString], denial: Denial, written: Result<(), String>) -> ExitCode {
    // Whatever else is wrong with the command line, root's answer is this one.
    let _ = read_command_line(words);
    log_what_was_not_written(written);
    report_failure(Error::from(denial).into())
}

/// Reads the command line, and starts to log what it says.
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
    /// Where servers live in units, has the monitor stay at hand for the one of this request.
    fn attend_unit(&mut self, grant: &Grant, request: &Request) -> Result<Option<Link>, Error> {
        let name = request.server_name();
        match (grant.name_unit(name)?, self.monitor.take()) {
            (Some(_), Some(monitor)) => {
                monitor.attend(request.action(), name, Limits::default()).map(Some)
            }
            (_, monitor) => {
                self.monitor = monitor;
                Ok(None)
            }
        }
    }
}

/// Says why a call failed.
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
