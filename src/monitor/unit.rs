//! The monitor of a server that lives in a unit: it asks systemd, as root, for as long as the mediator has
//! something to ask. This is the only code of root's that reads the rest of the policy.

use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;

use nix::unistd::{Pid, read};

use super::Work;
use crate::error::Error;
use crate::policy::Target;
use crate::privileges::lift_limits;
use crate::report::Report;
use crate::request::Limits;
use crate::server_name::ServerName;
use crate::service_manager::Unit;
use crate::supervisor::DELIVERED;
use crate::unit_properties::list_properties;

/// What the mediator may ask about a unit, on the pipe that says that the caller has its reply: how the
/// unit is,
pub const ASK_STATE: u8 = b's';
/// to end all of it,
pub const ASK_STOP: u8 = b't';
/// and what it said last, to the end of the pipe.
pub const ASK_JOURNAL: u8 = b'j';

/// Reads the limits that the mediator has granted, two lines; the policy's hold whatever these say.
fn read_limits(granted: &str) -> Limits {
    let (memory, cpus) = granted.split_once('\n').unwrap_or_default();
    Limits { memory: memory.parse().ok(), cpus: cpus.parse().ok().filter(|cpus| *cpus > 0.0) }
}

impl Work<'_> {
    /// Starts the server's unit, if that is asked for, and does what the mediator asks about it, until the
    /// mediator has ended. A server whose caller has no reply by then is ended.
    ///
    /// # Errors
    /// As [`Unit::start`] and [`Unit::show`].
    pub(super) fn attend_unit(
        &mut self,
        action: &str,
        target: &Target,
        server_name: &ServerName,
        granted: Option<&str>,
    ) -> Result<(), Error> {
        // The caller's would end systemd's programs in the middle; the unit has none of them.
        let _ = lift_limits();
        let (policy, user) = (self.rules.read_policy()?, &target.account().name);
        let unit = Unit::new(policy.systemd.unit_name.name_unit(user, server_name)?);
        if action == "spawn" {
            let asked = read_limits(granted.unwrap_or_default());
            let properties = list_properties(&policy, asked, user, server_name);
            let path = |file: RawFd| PathBuf::from(format!("/proc/{}/fd/{file}", Pid::this()));
            let request = path(self.request.as_raw_fd());
            unit.start(target, &properties, &request, &path(self.wire.reports.as_raw_fd()))?;
        }
        let mut word = [0];
        while read(&self.wire.delivered, &mut word) == Ok(1) {
            match word {
                [DELIVERED] => return Ok(()),
                [ASK_STATE] => self.wire.send(&Report::Unit(unit.show()?)),
                [ASK_STOP] => {
                    let ours = unit.end_processes()?;
                    // Nobody needs to wait for the rest.
                    self.wire.send(&Report::Unit(String::new()));
                    if ours {
                        unit.forget()?;
                    }
                }
                [ASK_JOURNAL] => {
                    unit.print_journal(&self.wire.reports);
                    break;
                }
                _ => break,
            }
        }
        if action == "spawn" { unit.undo() } else { Ok(()) }
    }
}
