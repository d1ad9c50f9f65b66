//! Limits that stay below the policy's, because they could not be raised.

use nix::sys::resource::getrlimit;
use root::policy::file::Policy;
use root::privileges::{Unprivileged, list_wanted_limits};

/// Logs each of them.
pub fn log_lowered_limits(policy: &Policy, _: &Unprivileged) {
    for (resource, value) in list_wanted_limits(&policy.limits) {
        match getrlimit(resource) {
            Ok((_, hard)) if hard < value => {
                log::warn!("{resource:?} stays at {hard}: it cannot be raised to {value} here");
            }
            _ => {}
        }
    }
}
