//! The agent: a child of the monitor that gives up root and then carries out a kill, a stop or a status.

use ground::denial::Denial;
use ground::report::Report;
use ground::server_name::ServerName;
use ground::system_calls;
use ground::wire::{DELIVERED, FORGET, Wire};
use nix::sys::signal::{Signal, kill};
use nix::unistd::ForkResult;

use super::{LONGEST_CALL, Work, is_delivered, read_words};
use crate::hooks::Prepared;
use crate::policy::Target;
use crate::policy::file::Launcher;
use crate::privileges::become_target;
use crate::service_manager::Unit;

impl Work<'_> {
    /// Has an agent act, and answers its questions about the server's unit. The target can stop and kill the
    /// agent. So it is killed when the mediator has ended, and a stop of a unit that it has not seen to is then
    /// carried out here.
    ///
    /// # Errors
    /// [`Denial::LaunchFailed`], and those of [`Unit::show`](crate::service_manager::Unit::show).
    pub(super) fn have_agent_act(
        &mut self,
        action: &str,
        target: Target,
        server_name: &ServerName,
    ) -> Result<(), Denial> {
        let is_in_unit = self.order.policy.server.launcher == Launcher::Systemd && action != "kill";
        let unit = is_in_unit.then(|| self.find_unit(&target, server_name)).transpose()?;
        let (mut wire, mut link) = Wire::open()?;
        let agent = match system_calls::fork().map_err(Denial::at("fork"))? {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                drop(wire);
                let proof = become_target(Prepared::without_hooks(target), self.order.policy);
                let report = proof.map_or_else(Report::from, |proof| {
                    (self.order.act)(&mut link, &mut self.request, self.order.policy, &proof)
                });
                self.wire.send(&report);
                system_calls::exit_now(0)
            }
        };
        drop(link);
        let mediator = &self.wire.delivered;
        let answer = |unit: &Unit| unit.answer_about(&mut wire, mediator);
        let last = unit.as_ref().map_or(Ok(Some(DELIVERED)), answer);
        if matches!(last, Ok(Some(_))) {
            read_words(&wire.delivered, mediator, 1, LONGEST_CALL);
        }
        let _ = kill(agent, Signal::SIGKILL);
        match (unit, last) {
            (Some(unit), last @ (Ok(None) | Err(_))) if action == "stop" => last.and(unit.stop()),
            (Some(unit), Ok(Some(FORGET))) if is_delivered(mediator) => unit.forget_own(),
            (_, last) => last.map(drop),
        }
    }
}
