//! The mediator's program, which all of this is about.

use std::path::PathBuf;

/// The path of the mediator, which is beside this program.
#[must_use]
pub fn find_mediator() -> PathBuf {
    let own = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    own.with_file_name("sudospawner")
}
