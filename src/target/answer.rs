//! Answers a call once this process is the target, or nobody: reads the command line and the request, has the
//! request carried out, and replies.

use std::ffi::OsString;
use std::process::ExitCode;

use ground::denial::Denial;
use ground::wire::{Link, write_text};
use nix::sys::stat::Mode as FileMode;
use root::account::Caller;
use root::audit::{self, Record};
use root::monitor::Monitor;
use root::options::RootOptions;
use root::policy::file::Policy;
use root::privileges::Unprivileged;
use root::unit_properties::Limits;

use crate::agent::act;
use crate::cli::{self, Command, Options, read_command_line};
use crate::decision::{await_admission, await_answer, have_carried_out, tell};
use crate::error::Error;
use crate::grant::{Grant, Whom};
use crate::launcher::{Failure, Launched, job, launch_server, process};
use crate::mode::Mode;
use crate::reply::{Reply, write_answer};
use crate::request::Request;
use crate::user_mode;

const VERSION: &str = concat!("sudospawner-rs ", env!("CARGO_PKG_VERSION"), "\n");

/// The outcome of a request.
enum Outcome {
    /// A server, which is the caller's as soon as the reply is written.
    Launched(Launched),
    /// In root mode everything else: the agent's reply, and the link to the monitor.
    Answered(String, Link),
    /// In user mode everything else.
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
    /// In root mode, until the decision: the link to the process that is still root.
    pub monitor: Option<Monitor>,
    /// The caller's umask.
    pub inherited_umask: FileMode,
}

impl Call {
    /// What is known at the beginning.
    #[must_use]
    pub fn new(
        words: Vec<OsString>,
        caller: Result<Caller, Denial>,
        inherited_umask: FileMode,
    ) -> Self {
        Self { words, caller, target: None, action: None, monitor: None, inherited_umask }
    }

    /// For user mode: sudo has made this process the target.
    pub fn answer_in_user_mode(self) -> ExitCode {
        let command = read_command_line(&self.words);
        self.answer(command, |call, options| {
            call.caller.clone().map_err(Error::from)?;
            let (policy, proof) = user_mode::admit(options.user.as_deref())?;
            call.target = Some(proof.target().name.clone());
            call.carry_out(options, &policy, &proof)
        })
    }

    /// For root mode, after root has read for whom the call is. This process is nobody now, and there is a monitor.
    pub fn answer_in_root_mode(
        mut self,
        RootOptions { user, action }: RootOptions<'_>,
        policy: &Policy,
        _: &Unprivileged<()>,
    ) -> ExitCode {
        let command = read_command_line(&self.words);
        let admitted = self.monitor.as_mut().map(|monitor| await_admission(monitor, user, policy));
        // Root's answer takes precedence over a mistake in the command line.
        let whom = match admitted.unwrap_or_else(|| Err(Denial::TargetIsRoot.into())) {
            Ok(whom) => whom,
            Err(error) => return report_failure(error.into()),
        };
        self.answer(command, |call, options| {
            if options.user.as_deref() != Some(user) {
                let sentence = "--user has to be given once, with a name";
                return Err(Error::Usage(sentence.to_owned()).into());
            }
            call.have_carried_out(options, action, policy, &whom)
        })
    }

    /// For root mode without `--user`: this process was root, and is nobody now.
    pub fn answer_without_target(self, _: &Unprivileged<()>) -> ExitCode {
        let command = read_command_line(&self.words);
        self.answer(command, |_, _| Err(Error::from(Denial::TargetIsRoot).into()))
    }

    /// Answers the call. `carry_out` gets the options.
    fn answer(
        mut self,
        command: Result<Command, Error>,
        carry_out: impl FnOnce(&mut Self, &Options) -> Result<Outcome, Failure>,
    ) -> ExitCode {
        let outcome = match command {
            Ok(Command::Help) => return self.show(cli::HELP),
            Ok(Command::Version) => return self.show(VERSION),
            Ok(Command::Answer(options)) => carry_out(&mut self, &options),
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok(Outcome::Launched(launched)) => launched.deliver(),
            Ok(Outcome::Answered(text, link)) => {
                if has_written(write_answer(&text)) {
                    link.confirm_delivery();
                }
            }
            Ok(Outcome::Done(reply)) => write(&reply),
            Err(failure) => {
                self.write_down(failure.error.code());
                return report_failure(failure);
            }
        }
        ExitCode::SUCCESS
    }

    /// As the target.
    fn carry_out(
        &mut self,
        options: &Options,
        policy: &Policy,
        proof: &Unprivileged,
    ) -> Result<Outcome, Failure> {
        let (bytes, request) = self.read_request(options)?;
        let (name, longest) = (request.server_name().clone(), request.longest(false));
        let whom = Whom::from(proof);
        let grant = Grant::decide(policy, &whom, &request)?;
        let Request::Spawn(spawn) = request else {
            self.write_down("ok");
            if matches!(request, Request::AboutJob(_)) {
                let mut link = job::start(job::ACT, &bytes, &name, Mode::User, proof)?;
                let text = await_answer(&mut link, longest, &whom.name)?;
                return Ok(Outcome::Answered(text, link));
            }
            return Ok(Outcome::Done(act(request, grant, None, proof)?));
        };
        let launched = launch_server(spawn, grant, |plan| {
            self.write_down("ok");
            if grant.is_for_job() {
                return job::start(job::SUBMIT, &bytes, &name, Mode::User, proof);
            }
            process::start(plan, policy, self.inherited_umask, proof)
        });
        launched.map(Outcome::Launched)
    }

    /// As nobody: the monitor and its children act. `announced` is the action that root has read.
    fn have_carried_out(
        &mut self,
        options: &Options,
        announced: Option<&str>,
        policy: &Policy,
        whom: &Whom,
    ) -> Result<Outcome, Failure> {
        let (bytes, request) = self.read_request(options)?;
        if announced.is_some_and(|action| action != request.action()) {
            let sentence = "the first line has to name the action of the request";
            return Err(Error::Usage(sentence.to_owned()).into());
        }
        let grant = Grant::decide(policy, whom, &request)?;
        let (action, name) = (request.action(), request.server_name().clone());
        let longest = request.longest(grant.name_unit(&name).map_err(Error::from)?.is_some());
        let mut begin = |limits| {
            let monitor = self.monitor.take().ok_or(Denial::CallerGone)?;
            have_carried_out(monitor, &bytes, action, &name, limits).map_err(Error::from)
        };
        let Request::Spawn(spawn) = request else {
            let mut link = begin(Limits::default())?;
            let text = await_answer(&mut link, longest, &whom.name)?;
            return Ok(Outcome::Answered(text, link));
        };
        let limits = spawn.limits;
        launch_server(spawn, grant, |_| begin(limits)).map(Outcome::Launched)
    }

    fn read_request(&mut self, options: &Options) -> Result<(Vec<u8>, Request), Error> {
        let bytes = Request::read(std::io::stdin().lock())?;
        let request = Request::parse(&bytes)?;
        self.action = Some(request.action());
        options.check_request(request.action(), request.server_name().as_str())?;
        Ok((bytes, request))
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
        let (caller, target) = (self.caller.as_ref().ok(), self.target.as_deref());
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

fn log_what_was_not_written(written: Result<(), String>) {
    if let Err(line) = written {
        log::info!("{line}");
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
    has_written(reply.write());
}

fn has_written(written: std::io::Result<()>) -> bool {
    if let Err(error) = &written {
        log::warn!("the reply could not be written: {error}");
    }
    written.is_ok()
}
