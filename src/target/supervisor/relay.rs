//! Carries the server's output to the Hub's log. No log ever blocks the server.
//!
//! The Hub's end is a pipe that others share, so it is never made non-blocking: poll(2) says whether PIPE_BUF
//! bytes fit, and no more is written at once. If the Hub does not read for a moment, the server's own pipe
//! buffers the output. After that, lines are dropped and counted. When the Hub's end is gone, because the Hub
//! restarted or sudo held it, the lines go to the journal. If the policy says so, they go there, or to a
//! file, from the beginning.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, dup2_stderr};

use super::inherited::LogPlace;
use super::log_file::LogFile;

/// How much of the server's last output is kept to report an early end.
pub const TAIL_BYTES: usize = 4096;
/// How much fits into a pipe when poll(2) calls it writable, on Linux: pipe(7), PIPE_BUF.
const CHUNK: usize = 4096;
/// How long a line may wait for the Hub before lines are dropped. Meanwhile the server's own pipe, of 64 KiB,
/// takes its output.
const PATIENCE: Duration = Duration::from_millis(100);
/// The socket for journald's native protocol, systemd's JOURNAL_NATIVE_PROTOCOL.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Where the lines go at present.
enum Sink {
    /// The Hub's pipe, our stderr.
    Hub,
    /// The journal, or nowhere if there is none.
    Journal(Option<UnixDatagram>),
    /// A file that the target owns.
    File(LogFile),
}

/// The server's output on its way.
pub struct Relay {
    hub: std::io::Stderr,
    output: Option<OwnedFd>,
    sink: Sink,
    server: Pid,
    /// What was read but not yet passed on: for the Hub at most one chunk, for the journal an unfinished
    /// line.
    pending: Vec<u8>,
    /// Since when the pending chunk has waited for the Hub.
    waiting_since: Option<Instant>,
    /// How many lines have been dropped since the Hub last read.
    dropped: u64,
    /// The last output, until it is no longer needed.
    tail: Option<Vec<u8>>,
}

/// The state of the Hub's pipe, from poll(2).
#[derive(PartialEq, Eq)]
enum HubState {
    Reading,
    Full,
    Gone,
}

impl Relay {
    /// Makes the relay for the reading end of the server's output.
    ///
    /// # Errors
    /// What fcntl(2) or dup2(2) says.
    pub fn new(output: OwnedFd, server: Pid, place: LogPlace) -> Result<Self, Errno> {
        if place != LogPlace::Hub {
            // Our stdin is /dev/null. The pipe to the Hub would cost the Hub a descriptor.
            dup2_stderr(std::io::stdin())?;
        }
        // The reading end is ours alone, so making it non-blocking affects nobody else.
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self {
            hub: std::io::stderr(),
            output: Some(output),
            sink: match place {
                LogPlace::Hub => Sink::Hub,
                LogPlace::Journal => open_journal(),
                LogPlace::File(path) => {
                    LogFile::open(path).map_or_else(|_| open_journal(), Sink::File)
                }
            },
            server,
            pending: Vec::new(),
            waiting_since: None,
            dropped: 0,
            tail: Some(Vec::new()),
        })
    }

    /// What to poll for: more output, unless the Hub has to read what is pending; and the Hub, if it is to
    /// learn of lines that it has missed.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let (is_waiting, has_dropped) = (self.waiting_since.is_some(), self.dropped > 0);
        let hub = (is_waiting || has_dropped && matches!(self.sink, Sink::Hub))
            .then(|| PollFd::new(self.hub.as_fd(), PollFlags::POLLOUT));
        let output = self.output.as_ref().filter(|_| !is_waiting);
        hub.into_iter().chain(output.map(|output| PollFd::new(output.as_fd(), PollFlags::POLLIN)))
    }

    /// How long to poll at most, if something waits for the Hub.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        self.waiting_since.map(|since| PATIENCE.saturating_sub(since.elapsed()))
    }

    /// Moves what can be moved now, without waiting.
    pub fn forward(&mut self) {
        loop {
            if !self.pass_on() || !self.read_chunk() {
                return;
            }
        }
    }

    /// The server's last output.
    #[must_use]
    pub fn tail(&self) -> &[u8] {
        self.tail.as_deref().unwrap_or_default()
    }

    /// Stops keeping the last output.
    pub fn forget_tail(&mut self) {
        self.tail = None;
    }

    /// Moves the rest, when the server and everything that it left have ended.
    pub fn finish(&mut self) {
        self.forward();
        if let Sink::Journal(socket) = &self.sink
            && !self.pending.is_empty()
        {
            send_to_journal(socket.as_ref(), self.server, &self.pending);
        }
    }

    /// Reads the next chunk, and returns whether there was one.
    fn read_chunk(&mut self) -> bool {
        let Some(output) = &self.output else { return false };
        // Read into its final place, because a separate buffer would stay in memory for good.
        let kept = self.pending.len();
        self.pending.resize(kept.saturating_add(CHUNK), 0);
        let room = self.pending.get_mut(kept..).unwrap_or_default();
        let count = nix::unistd::read(output, room);
        self.pending.truncate(kept.saturating_add(count.unwrap_or(0)));
        match count {
            Ok(0) => {
                // Nobody has the writing end any more, so nobody ever will.
                self.output = None;
                return false;
            }
            Ok(_) => {}
            Err(_) => return false,
        }
        if let Some(tail) = &mut self.tail {
            let chunk = self.pending.get(kept..).unwrap_or_default();
            let excess = tail.len().saturating_add(chunk.len()).saturating_sub(TAIL_BYTES);
            tail.drain(..excess.min(tail.len()));
            tail.extend_from_slice(chunk);
        }
        true
    }

    /// Passes on what is pending, and returns whether there is room for more.
    fn pass_on(&mut self) -> bool {
        if self.pending.is_empty() && self.dropped == 0 {
            return true;
        }
        match &mut self.sink {
            Sink::Journal(_) => {
                self.pass_on_to_journal();
                true
            }
            // A full disk or an exhausted quota must not send the output to the Hub's log. The journal gets
            // what did not fit, and perhaps a part that did.
            Sink::File(file) => match file.append(&self.pending) {
                Ok(()) => {
                    self.pending.clear();
                    true
                }
                Err(_) => self.turn_to_journal(),
            },
            Sink::Hub => match self.look_at_hub() {
                HubState::Reading => self.pass_on_to_hub(),
                HubState::Full => self.pending.is_empty() || self.wait_or_drop(),
                HubState::Gone => self.turn_to_journal(),
            },
        }
    }

    fn look_at_hub(&self) -> HubState {
        let mut watched = [PollFd::new(self.hub.as_fd(), PollFlags::POLLOUT)];
        let _ = poll(&mut watched, PollTimeout::ZERO);
        let [hub] = watched;
        let state = hub.revents().unwrap_or(PollFlags::POLLERR);
        if state.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
            HubState::Gone
        } else if state.contains(PollFlags::POLLOUT) {
            HubState::Reading
        } else {
            HubState::Full
        }
    }

    fn pass_on_to_hub(&mut self) -> bool {
        if self.dropped > 0 {
            let notice = format!(
                "\n[sudospawner] {} lines of this server's log were dropped: the Hub did not read\n",
                self.dropped
            );
            self.dropped = 0;
            // The pending chunk waits for the next look, since the notice took its room.
            return match nix::unistd::write(&self.hub, notice.as_bytes()) {
                Err(Errno::EPIPE) => self.turn_to_journal(),
                _ => self.pass_on(),
            };
        }
        match nix::unistd::write(&self.hub, &self.pending) {
            Ok(count) => {
                self.pending.drain(..count.min(self.pending.len()));
                self.waiting_since = None;
                self.pass_on()
            }
            Err(Errno::EINTR | Errno::EAGAIN) => self.wait_or_drop(),
            Err(_) => self.turn_to_journal(),
        }
    }

    fn wait_or_drop(&mut self) -> bool {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        if self.dropped == 0 && since.elapsed() < PATIENCE {
            return false;
        }
        let lines = self.pending.iter().filter(|byte| **byte == b'\n').count();
        // At least one, so that dropped output is reported even if its line has no end.
        self.dropped = self.dropped.saturating_add(lines.max(1) as u64);
        self.pending.clear();
        self.waiting_since = None;
        true
    }

    fn turn_to_journal(&mut self) -> bool {
        self.sink = open_journal();
        self.waiting_since = None;
        self.pass_on()
    }

    /// Sends all complete lines. The rest waits for its end, unless it is too long.
    fn pass_on_to_journal(&mut self) {
        let Sink::Journal(socket) = &self.sink else { return };
        let whole = match self.pending.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end.saturating_add(1),
            None if self.pending.len() >= CHUNK => self.pending.len(),
            None => return,
        };
        for line in self.pending.drain(..whole).as_slice().split(|byte| *byte == b'\n') {
            if !line.is_empty() {
                send_to_journal(socket.as_ref(), self.server, line);
            }
        }
    }
}

fn open_journal() -> Sink {
    let socket = UnixDatagram::unbound().ok();
    Sink::Journal(socket.filter(|socket| socket.set_nonblocking(true).is_ok()))
}

/// Sends one message in journald's native protocol. A journal that does not accept it, or is missing, is
/// never waited for. The line is then lost, as it would be without us.
fn send_to_journal(socket: Option<&UnixDatagram>, server: Pid, line: &[u8]) {
    let Some(socket) = socket else { return };
    let mut message = format!(
        "SYSLOG_IDENTIFIER=jupyterhub-singleuser\nSYSLOG_PID={server}\nPRIORITY=6\nMESSAGE="
    )
    .into_bytes();
    message.extend_from_slice(line);
    message.push(b'\n');
    let _ = socket.send_to(&message, JOURNAL);
}
