//! `sudospawner`: starts and ends a user's notebook server, called through sudo by a Hub that is
//! not root. One JSON request on stdin, one JSON reply on stdout.

use std::process::ExitCode;

use log::LevelFilter;
use sudospawner::account::{Account, Caller};
use sudospawner::audit::{self, Record};
use sudospawner::cli::{self, Command, Options};
use sudospawner::error::Error;
use sudospawner::launcher::{Launched, launch_server};
use sudospawner::policy::{grant_in_user_mode, resolve_target};
use sudospawner::privileges::confirm_unprivileged;
use sudospawner::process::{send_signal, stop::stop_server, usage::measure_server};
use sudospawner::reply::{self, Reply};
use sudospawner::request::Request;
use sudospawner::{diagnostics, supervisor, system_calls};

fn main() -> ExitCode {
    if let Some(status) = supervisor::run_if_asked() {
        return status;
    }
    system_calls::close_inherited_descriptors();
    system_calls::own_signals();
    let command = cli::parse(std::env::args_os().skip(1));
    let logging = match &command {
        Ok(Command::Answer(options)) => options.logging,
        _ => None,
    };
    diagnostics::start_logging(logging.unwrap_or(LevelFilter::Info));
    match command {
        Ok(Command::Help) => show(cli::HELP),
        Ok(Command::Version) => show(concat!("sudospawner-rs ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Answer(options)) => Call::default().answer(&options),
        Err(error) => Call::default().fail(&error),
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
}

impl Call {
    fn answer(mut self, options: &Options) -> ExitCode {
        match self.carry_out(options) {
            Err(error) => self.fail(&error),
            Ok(outcome) => {
                self.audit("ok");
                match outcome {
                    Outcome::Launched(launched) => launched.deliver(),
                    Outcome::Done(reply) => write(&reply),
                }
                ExitCode::SUCCESS
            }
        }
    }

    /// The flow. Each stage takes what only the stage before can make.
    fn carry_out(&mut self, options: &Options) -> Result<Outcome, Error> {
        let caller = *self.caller.insert(Caller::identify()?);
        let target = self.target.insert(resolve_target(options.user.as_deref())?).clone();
        let request = Request::read(std::io::stdin().lock())?;
        self.action = Some(request.action());
        let grant = grant_in_user_mode(request, target, caller)?;
        let (unprivileged, request) = confirm_unprivileged(grant)?;
        Ok(match request {
            Request::Spawn(spawn) => Outcome::Launched(launch_server(spawn, &unprivileged)?),
            Request::Kill(kill) => {
                Outcome::Done(Reply::signalled(send_signal(&kill, &unprivileged)?))
            }
            Request::Stop(stop) => {
                Outcome::Done(Reply::stopped(stop_server(&stop, &unprivileged)?))
            }
            Request::Status(status) => {
                Outcome::Done(Reply::status(measure_server(&status, &unprivileged)?))
            }
        })
    }

    fn fail(&self, error: &Error) -> ExitCode {
        self.audit(error.code());
        log::error!("{error}");
        write(&Reply::failed(error));
        ExitCode::from(error.exit_status())
    }

    fn audit(&self, code: &str) {
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
