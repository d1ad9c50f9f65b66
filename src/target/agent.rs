//! Carries out a kill, a stop or a status, as the target: in user mode in the mediator, in root mode in a child
//! of the monitor.

use std::fs::File;

use ground::report::Report;
use ground::wire::Link;
use root::policy::file::Policy;
use root::privileges::Unprivileged;

use crate::cli::start_logging_as_asked;
use crate::decision::{await_answer, read_request};
use crate::error::Error;
use crate::grant::{Grant, Whom};
use crate::launcher::job;
use crate::launcher::unit::{UnitStatus, measure_in_unit, stop_in_unit};
use crate::mode::Mode;
use crate::process::{send_signal, stop::stop_server, usage::measure_server};
use crate::reply::Reply;
use crate::request::Request;

/// In root mode: reads the request, decides on it again and carries it out. The link leads to the monitor.
pub fn act_for_monitor(
    link: &mut Link,
    request: &mut File,
    policy: &Policy,
    proof: &Unprivileged,
) -> Report {
    start_logging_as_asked();
    let answer = read_request(request).and_then(|bytes| {
        let (request, whom) = (Request::parse(&bytes)?, Whom::from(proof));
        let grant = Grant::decide(policy, &whom, &request)?;
        if let Request::AboutJob(about) = &request {
            let name = &about.server_name;
            let mut link = job::start(job::ACT, &bytes, name, Mode::Root, proof)?;
            return await_answer(&mut link, request.longest(false), &whom.name);
        }
        let link = grant.name_unit(request.server_name())?.map(|_| link);
        act(request, grant, link, proof).map(|reply| reply.to_text())
    });
    answer.map_or_else(Report::from, Report::Answer)
}

/// Carries out a granted request. With a link, servers run in units.
///
/// # Errors
/// Those of processes and units; [`Denial::LaunchFailed`](ground::denial::Denial::LaunchFailed) for a spawn.
pub fn act(
    request: Request,
    grant: Grant<'_>,
    link: Option<&mut Link>,
    proof: &Unprivileged,
) -> Result<Reply, Error> {
    match request {
        // These are for processes of their own.
        Request::Spawn(_) | Request::AboutJob(_) => {
            Err(Error::at("reading the request")(nix::errno::Errno::EBADMSG))
        }
        Request::Kill(kill) => Ok(Reply::signalled(send_signal(&kill, proof)?)),
        Request::Stop(stop) => {
            let leftovers = grant.policy().server.leftovers;
            let in_unit = link.map(|link| stop_in_unit(&stop, leftovers, link, proof));
            Ok(Reply::stopped(match in_unit.transpose()?.flatten() {
                Some(stopped) => stopped,
                None => stop_server(&stop, leftovers, proof)?,
            }))
        }
        Request::Status(status) => {
            let in_unit = link.map(|link| measure_in_unit(&status, link, proof));
            Ok(match in_unit.transpose()?.flatten() {
                Some(UnitStatus::Alive(usage)) => Reply::status(Some(usage)),
                Some(UnitStatus::Ended { end, result }) => Reply::ended(end, result),
                None => Reply::status(measure_server(&status, proof)?),
            })
        }
    }
}
