//! Limits that stay below the policy's, because they could not be raised.

use ground::report::Report;
use ground::wire::Wire;
use nix::sys::resource::getrlimit;
use root::policy::file::Policy;
use root::privileges::{Unprivileged, list_wanted_limits};

/// Has the mediator of a spawn log each of them.
pub fn report_lowered_limits(policy: &Policy, wire: &mut Wire, _: &Unprivileged) {
    for (resource, value) in list_wanted_limits(&policy.limits) {
        match getrlimit(resource) {
            Ok((_, hard)) if hard < value => wire.send(&Report::Warning(format!(
                "{resource:?} stays at {hard}: it cannot be raised to {value} here"
            ))),
            _ => {}
        }
    }
}
