//! The monitor of a server in a unit: it asks systemd, as root, for as long as somebody has questions.

use std::os::fd::{AsRawFd, OwnedFd};

use ground::denial::Denial;
use ground::report::Report;
use ground::server_name::ServerName;
use ground::wire::{ASK_JOURNAL, ASK_STATE, ASK_STOP, DELIVERED, FORGET, Wire};

use super::{LONGEST_CALL, Work, read_words};
use nix::unistd::Pid;

use crate::hooks::{after, list_variables};
use crate::policy::Target;
use crate::service_manager::Unit;
use crate::unit_properties::{Limits, list_own_properties, list_shared_properties};

/// Reads the limits that the mediator has granted, two lines. The policy's apply whatever these say.
fn read_limits(granted: &str) -> Limits {
    let (memory, cpus) = granted.split_once('\n').unwrap_or_default();
    Limits { memory: memory.parse().ok(), cpus: cpus.parse().ok().filter(|cpus| *cpus > 0.0) }
}

impl Work<'_> {
    /// The unit of one of the target's servers.
    ///
    /// # Errors
    /// [`Denial::ServerNameTooLong`], and those of [`Unit::new`].
    pub(super) fn find_unit(&self, target: &Target, name: &ServerName) -> Result<Unit, Denial> {
        let naming = &self.order.policy.systemd.unit_name;
        let unit = naming.name_unit(&target.account().name, name)?;
        Unit::new(unit)
    }

    /// Starts the server's unit, and answers the mediator's questions about it until the mediator says that
    /// the caller has its reply. Without that word the unit is ended.
    ///
    /// # Errors
    /// Those of [`Unit::start`] and [`Unit::show`].
    pub(super) fn start_unit(
        &mut self,
        target: &Target,
        server_name: &ServerName,
        granted: &str,
    ) -> Result<(), Denial> {
        let (policy, user) = (self.order.policy, &target.account().name);
        let unit = self.find_unit(target, server_name)?;
        let shared = list_shared_properties(policy, read_limits(granted), user, server_name);
        let pipes = [self.request.as_raw_fd(), self.wire.reports.as_raw_fd()];
        let path = |pipe| format!("file:/proc/{}/fd/{pipe}", Pid::this());
        let [request, reports] = pipes.map(path);
        let mut opened =
            vec![("StandardInput".to_owned(), request), ("StandardOutput".to_owned(), reports)];
        let mut passed = String::new();
        if let Some(limit) = after::find_longest(&policy.hooks) {
            // systemd would open the two again for the hooks after the server, when they are gone.
            let [request, reports] = pipes;
            passed = format!(",{request},{reports}");
            opened = unit.list_after_properties(limit, &list_variables(target, server_name));
        }
        let own = list_own_properties(policy, user, server_name);
        let started = unit.start(target, &[shared, opened, own].concat(), &passed);
        let mediator = self.wire.delivered.try_clone().map_err(|_| Denial::CallerGone)?;
        match started.and_then(|()| unit.answer_about(&mut self.wire, &mediator)) {
            Ok(Some(DELIVERED)) => Ok(()),
            // After a failure, too: systemd may have started the unit, and only be slow to answer.
            done => done.and(unit.undo()),
        }
    }
}

impl Unit {
    /// Answers words about the unit. Returns the last one, which said that there are no more questions; `None`
    /// if the asking process or the mediator ended without it.
    pub(super) fn answer_about(
        &self,
        wire: &mut Wire,
        mediator: &OwnedFd,
    ) -> Result<Option<u8>, Denial> {
        while let [word] = read_words(&wire.delivered, mediator, 1, LONGEST_CALL)[..] {
            match word {
                DELIVERED | FORGET => return Ok(Some(word)),
                ASK_STATE => wire.send(&Report::Unit(self.show()?)),
                ASK_STOP => {
                    let ours = self.end_processes(|| wire.send(&Report::Unit(String::new())))?;
                    // Nobody needs to wait for the rest.
                    if ours {
                        self.forget()?;
                    }
                    return Ok(Some(word));
                }
                ASK_JOURNAL => {
                    self.print_journal(&wire.reports);
                    break;
                }
                _ => break,
            }
        }
        Ok(None)
    }
}
