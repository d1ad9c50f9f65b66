//! What the caller is told of hooks before the reply.

use ground::report::{HookResult, HookStatus};

use crate::reply::Event;

/// The hooks that have run.
#[derive(Debug, Default)]
pub struct Hooks {
    /// Whether events are written.
    pub announce: bool,
    /// Their results, in order.
    pub results: Vec<HookResult>,
}

impl Hooks {
    /// With `announce`, events are written.
    #[must_use]
    pub fn new(announce: bool) -> Self {
        Self { announce, results: Vec::new() }
    }

    /// A hook is running or has run.
    pub fn take(&mut self, result: HookResult) {
        if self.announce {
            Event::hook(&result).write();
        }
        if result.status == HookStatus::Running {
            return;
        }
        // A caller that gets events logs them itself.
        let HookResult { name, status, seconds, output, .. } = &result;
        let level = if self.announce { log::Level::Debug } else { log::Level::Info };
        log::log!(level, "hook {name}: {status:?} after {seconds} s: {}", output.trim_end());
        self.results.push(result);
    }
}
