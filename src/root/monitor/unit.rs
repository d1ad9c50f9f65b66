//! The monitor of a server in a unit: it asks systemd, as root, for as long as the mediator has questions.

use std::fs::File;
use std::os::fd::AsRawFd;

use ground::denial::Denial;
use ground::report::Report;
use ground::server_name::ServerName;
use ground::wire::{ASK_JOURNAL, ASK_STATE, ASK_STOP, DELIVERED};
use nix::unistd::Pid;

use super::Work;
use crate::policy::Target;
use crate::service_manager::Unit;
use crate::unit_properties::{Limits, list_own_properties, list_shared_properties};

/// Reads the limits that the mediator has granted, two lines. The policy's apply whatever these say.
fn read_limits(granted: &str) -> Limits {
    let (memory, cpus) = granted.split_once('\n').unwrap_or_default();
    Limits { memory: memory.parse().ok(), cpus: cpus.parse().ok().filter(|cpus| *cpus > 0.0) }
}

impl Work<'_> {
    /// Starts the server's unit if asked to, and answers the mediator's questions about it until the mediator
    /// says that it is done. If mediator or caller go away before that, the unit is ended after a start,
    /// since the caller has no reply, and after a stop.
    ///
    /// # Errors
    /// Those of [`Unit::start`] and [`Unit::show`].
    pub(super) fn attend_unit(
        &mut self,
        action: &str,
        target: &Target,
        server_name: &ServerName,
        granted: &str,
    ) -> Result<(), Denial> {
        let (policy, user) = (self.order.policy, &target.account().name);
        let unit = Unit::new(policy.systemd.unit_name.name_unit(user, server_name)?)?;
        let started = if action == "spawn" {
            let shared = list_shared_properties(policy, read_limits(granted), user, server_name);
            let own = list_own_properties(policy, user, server_name);
            let path = |file: &File| format!("/proc/{}/fd/{}", Pid::this(), file.as_raw_fd());
            let (request, reports) = (path(&self.request), path(&self.wire.reports));
            unit.start(target, &[shared, own].concat(), &request, &reports)
        } else {
            Ok(())
        };
        let done = started.and_then(|()| self.answer_about(&unit));
        let (Ok(false) | Err(_)) = done else { return Ok(()) };
        self.call.forget_caller();
        // After a failure, too: systemd may have started the unit, and only be slow to answer.
        let ended = match action {
            "spawn" => unit.undo(),
            "stop" => unit.stop(),
            _ => Ok(()),
        };
        done.and(ended)
    }

    /// Answers the mediator's words. Returns whether the last word said that it is done.
    fn answer_about(&mut self, unit: &Unit) -> Result<bool, Denial> {
        while let Some(word) = self.call.read_word(&self.wire.delivered) {
            match word {
                DELIVERED => return Ok(true),
                ASK_STATE => self.wire.send(&Report::Unit(unit.show()?)),
                ASK_STOP => {
                    let ours = unit.end_processes()?;
                    self.wire.send(&Report::Unit(String::new()));
                    // Nobody needs to wait for the rest.
                    self.call.forget_caller();
                    if ours {
                        unit.forget()?;
                    }
                    return Ok(true);
                }
                ASK_JOURNAL => {
                    unit.print_journal(&self.wire.reports);
                    break;
                }
                _ => break,
            }
        }
        Ok(false)
    }
}
