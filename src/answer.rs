//! What a call does once it is its target: reads the request, carries it out, and replies.

use std::process::ExitCode;

use sudospawner::launcher::{Failure, Launched, launch_server, process};
use sudospawner::policy::Rules;
use sudospawner::privileges::Unprivileged;
use sudospawner::process::{send_signal, stop::stop_server, usage::measure_server};
use sudospawner::reply::{self, Reply};
use sudospawner::request::Request;

use crate::Call;

/// What came of a request.
enum Outcome {
    /// A server that is the caller's as soon as the reply is written.
    Launched(Launched),
    /// Everything else.
    Done(Reply),
}

impl Call {
    /// Reads the request and answers it.
    pub fn answer(mut self, rules: Rules, proof: Unprivileged) -> ExitCode {
        match self.carry_out(rules, proof) {
            Ok(Outcome::Launched(launched)) => launched.deliver(),
            Ok(Outcome::Done(reply)) => write(&reply),
            Err(failure) => {
                self.audit(failure.error.code());
                return report_failure(failure);
            }
        }
        ExitCode::SUCCESS
    }

    fn carry_out(&mut self, rules: Rules, proof: Unprivileged) -> Result<Outcome, Failure> {
        let bytes = Request::read(std::io::stdin().lock())?;
        let request = Request::parse(&bytes)?;
        self.action = Some(request.action());
        let grant = rules.grant(proof, &request)?;
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
                        process::start(plan, grant.policy(), self.inherited_umask, proof)
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
}

/// Says why a call failed.
pub fn report_failure(Failure { error, hooks }: Failure) -> ExitCode {
    log::error!("{error}");
    let status = error.exit_status();
    write(&Reply::failed(&error, hooks));
    ExitCode::from(status)
}

/// Shows a text to a person.
pub fn show(text: &str) -> ExitCode {
    if reply::write_text(text).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write(reply: &Reply) {
    if let Err(error) = reply.write() {
        log::warn!("the reply could not be written: {error}");
    }
}
