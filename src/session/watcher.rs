//! The watcher: a process beside the one that opens a session, which ends that one if modules take too long.
//! Nothing else ends a module that waits.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use ground::ending::list_children_of;
use ground::report::Report;
use ground::system_calls;
use ground::waiting::wait_for_any;
use ground::wire::send_to;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, pipe2, read};

use crate::order::Order;
use crate::pam::{LONGEST, Step};

/// The word that the session is open, or has failed.
const DONE: u8 = b'.';

/// The watched process's end.
pub struct Watcher {
    process: Pid,
    words: File,
}

impl Watcher {
    /// Starts to watch this process.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start(order: &Order) -> Result<Self, Errno> {
        let (heard, words) = pipe2(OFlag::O_CLOEXEC)?;
        let watched = Pid::this();
        match system_calls::fork()? {
            ForkResult::Parent { child: process } => Ok(Self { process, words: words.into() }),
            ForkResult::Child => {
                drop(words);
                watch(watched, &heard, order);
                system_calls::exit_now(0)
            }
        }
    }

    /// Says which step comes next.
    pub fn announce(&mut self, step: Step) {
        let _ = self.words.write_all(&[b'0'.saturating_add(step as u8)]);
    }

    /// Ends the watch. It could otherwise be the server's child.
    pub fn end(mut self) {
        let _ = self.words.write_all(&[DONE]);
        let _ = waitpid(self.process, None);
    }
}

fn watch(watched: Pid, heard: &OwnedFd, order: &Order) {
    let (begin, mut step) = (Instant::now(), Step::Begin);
    loop {
        let left = LONGEST.saturating_sub(begin.elapsed());
        let mut events = [PollFd::new(heard.as_fd(), PollFlags::POLLIN)];
        let mut word = [DONE];
        match wait_for_any(&mut events, left).as_deref() {
            // It has ended.
            Ok([true]) if read(heard, &mut word) != Ok(1) => return,
            Ok([true]) => {}
            _ if left.is_zero() => break,
            _ => continue,
        }
        step = match word {
            [b'1'] => Step::Account,
            [b'2'] => Step::Credentials,
            [b'3'] => Step::Open,
            _ => return,
        };
    }
    let denial = step.fail(format!("no answer within {} seconds", LONGEST.as_secs()));
    if let Ok(mut reports) = order.reports.try_clone() {
        send_to(&mut reports, &Report::from(denial));
    }
    end_with_descendants(watched);
}

/// Ends a process and what it has started, which pam_systemd may have moved out of the server's unit. This process is one
/// of its children.
fn end_with_descendants(top: Pid) {
    // What is stopped starts nothing more, and keeps its children's pids from being used again.
    let _ = kill(top, Signal::SIGSTOP);
    let (mut found, mut unseen) = (Vec::new(), vec![top]);
    while let Some(pid) = unseen.pop() {
        found.push(pid);
        unseen.extend(list_children_of(pid).into_iter().filter(|child| *child != Pid::this()));
    }
    for pid in found.into_iter().rev() {
        let _ = kill(pid, Signal::SIGKILL);
    }
}
