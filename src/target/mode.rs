//! User mode and root mode.

/// How this program was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As the target: `sudo -u zoe sudospawner`.
    User,
    /// As root: `sudo sudospawner --user=zoe`.
    Root,
}
