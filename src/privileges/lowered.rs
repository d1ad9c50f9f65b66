//! Limits that are lower than the policy says, since they could not be raised: said as the target.

use nix::sys::resource::getrlimit;

use super::{Unprivileged, list_wanted};
use crate::policy::authority::Authority;

/// Logs each.
pub fn log_lowered_limits(authority: &Authority, proof: &Unprivileged) {
    for (resource, value) in list_wanted(&authority.limits, proof.mode()) {
        match getrlimit(resource) {
            Ok((_, hard)) if hard < value => {
                log::warn!("{resource:?} stays at {hard}: it cannot be raised to {value} here");
            }
            _ => {}
        }
    }
}
