//! The mediator's program, which all of this is about.

use std::path::PathBuf;

use ground::system_calls::find_beside;

/// The path of the mediator, which is beside this program.
#[must_use]
pub fn find_mediator() -> PathBuf {
    find_beside("sudospawner")
}
