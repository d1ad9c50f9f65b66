//! What the door says itself: that somebody may not call.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ground::denial::Denial;
use root::account::Caller;
use root::audit::{Record, write_record};

/// How many lines in this time: a flood of connections is neither one of lines, nor does it wait for a full log.
const MOST_LINES: u32 = 600;
const SPAN: Duration = Duration::from_secs(10);

/// The lines that may still be written.
pub struct Refusals {
    since: Instant,
    left: u32,
}

impl Refusals {
    /// With all lines left.
    pub fn new() -> Self {
        Self { since: Instant::now(), left: MOST_LINES }
    }

    /// Writes the line to the log and says so to the caller, whom nothing waits for.
    pub fn refuse(&mut self, mut connection: &UnixStream, caller: &Caller, denial: &Denial) {
        let (code, _) = denial.classify();
        if self.since.elapsed() >= SPAN {
            *self = Self::new();
        }
        if self.left > 0 {
            let record = Record { caller: Some(caller), target: None, action: None, code };
            let written = write_record("sudospawner", &record);
            self.left = written.map_or(0, |()| self.left.saturating_sub(1));
        }
        let reply = serde_json::json!({"ok": false, "code": code, "error": denial.to_string()});
        // A new connection has room for this.
        let _ = connection.set_nonblocking(true);
        let _ = connection.write_all(format!("{reply}\n").as_bytes());
    }
}
