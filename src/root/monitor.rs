//! The monitor: the part of root mode that stays root while everything else is already the target.
//!
//! It is forked after checks 1 to 4, before any byte of the request is read. The process that reads and
//! parses the request has given up root by then. It tells the monitor only the decision, the action and the
//! server's name, which the monitor checks again. The monitor writes the audit line. For a spawn it runs the
//! hooks, has the server started, and stays until the caller has its reply. The server is started by a child,
//! which gives up root before it reads the request and becomes the supervisor, or by systemd in a unit.
//!
//! The mediator is by then the target's process, and the target can stop and kill it. So every wait for it
//! has a time limit and ends when the caller is gone (`Call`).

mod call;
mod unit;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Duration;

use ground::denial::Denial;
use ground::ending::{GRACE, LONGEST_ENDING, end_children, has_children};
use ground::pidfd::Pidfd;
use ground::report::Report;
use ground::server_name::ServerName;
use ground::system_calls;
use ground::system_calls::afresh::{Limit, refresh_limits, set_limit};
use ground::wire::{DELIVERED, Link, Wire};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode as FileMode;
use nix::unistd::{ForkResult, Pid, dup2_stderr, pipe2, write};

use crate::account::Caller;
use crate::audit::{self, Record};
use crate::hooks::{Prepared, run_hooks};
use crate::keeper;
use crate::options::RootOptions;
use crate::policy::Target;
use crate::policy::file::{Launcher, Policy};
use crate::privileges::{Unprivileged, become_target, become_wholly_root};
use call::Call;

/// The maximum size of a decision: the longest name, two words and two numbers. The mediator writes it at
/// once, pipe(7).
const MAX_DECISION: usize = 512;
/// A request may take a minute, so what is undecided after this time stays so.
const LONGEST_DECISION: Duration = Duration::from_secs(75);
/// What the audit line says if the mediator ends before it has decided.
const UNDECIDED: &str = "undecided";
/// The actions that a command line may name.
const ACTIONS: [&str; 4] = ["spawn", "kill", "stop", "status"];

/// The mediator's end of its monitor. The mediator is the target by then, and may write anything to it.
#[derive(Debug)]
pub struct Monitor {
    /// Carries the decision to the monitor.
    pub decision: File,
    /// Holds the request of a spawn, written before the decision.
    pub request: File,
    /// Carries what the monitor has to say.
    pub link: Link,
}

/// What a monitor needs to start.
pub struct Order<'a> {
    /// The policy that was decided by.
    pub policy: &'a Policy,
    /// The options on the command line.
    pub options: RootOptions<'a>,
    /// Who called.
    pub caller: Caller,
    /// The caller's umask.
    pub inherited_umask: FileMode,
    /// Called without root for a server beside the Hub: reads the request from the file, starts the server
    /// and becomes its supervisor. Returns only on failure, with the reason.
    pub start_server: fn(&mut Wire, &mut File, &Policy, FileMode, &Unprivileged) -> Report,
}

impl Monitor {
    /// Forks the monitor for an admitted target.
    ///
    /// # Errors
    /// [`Denial::LaunchFailed`].
    pub fn start(target: &Target, order: &Order<'_>) -> Result<Self, Denial> {
        let (wire, link) = Wire::open()?;
        let (decision, tell) = pipe2(OFlag::O_CLOEXEC).map_err(Denial::at("pipe"))?;
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let request = File::from(memfd_create("request", flags).map_err(Denial::at("memfd"))?);
        let call = Call::hold().map_err(Denial::at("dup"))?;
        match system_calls::fork().map_err(Denial::at("fork"))? {
            ForkResult::Parent { .. } => Ok(Self { decision: File::from(tell), request, link }),
            ForkResult::Child => {
                drop((tell, link));
                let mut work = Work { order, wire, request, call };
                match work.follow_decision(&decision, target) {
                    Ok(Rest::Nothing) => {}
                    Ok(Rest::Launch(launch)) => launch.see_through(work.wire, work.call),
                    Ok(Rest::Mediator) => work.give_up(None),
                    Err(denial) => work.give_up(Some(denial)),
                }
                system_calls::exit_now(1)
            }
        }
    }
}

/// The monitor's own state.
struct Work<'a> {
    order: &'a Order<'a>,
    wire: Wire,
    request: File,
    call: Call,
}

/// What is left to do after following a decision.
enum Rest {
    Nothing,
    /// A server has been started beside the Hub.
    Launch(Launch),
    /// Only to see the mediator end: its account may have stopped it, and sudo with it.
    Mediator,
}

impl Work<'_> {
    /// Waits for the decision, records it and acts on it.
    fn follow_decision(&mut self, decision: &OwnedFd, target: &Target) -> Result<Rest, Denial> {
        self.wire.detach()?;
        become_wholly_root().map_err(Denial::at("becoming root"))?;
        let told = self.call.read_words(decision, MAX_DECISION, LONGEST_DECISION);
        let text = told.as_deref().and_then(|text| std::str::from_utf8(text).ok());
        let text = text.filter(|text| !text.is_empty());
        let is_undecided = text.is_none();
        let text = text.map_or_else(|| describe_undecided(self.order.options), str::to_owned);
        let mut words = text.splitn(4, '\n').chain([""; 4]);
        let mut next = || words.next().unwrap_or_default();
        let (action, code, name, limits) = (next(), next(), next(), next());
        self.audit(target, action, code);
        let launcher = self.order.policy.server.launcher;
        if is_undecided {
            // If the pipe has ended, so will the mediator, by itself. Otherwise it must not decide any more.
            self.call.end_mediator(if told.is_some() { call::GRACE } else { Duration::ZERO });
            // The caller has asked to end the unit. The target's processes have no say in that.
            if launcher != Launcher::Systemd || action != "stop" {
                return Ok(Rest::Nothing);
            }
        } else if code != "ok" {
            return Ok(Rest::Nothing);
        }
        let name = ServerName::parse(name.to_owned());
        let name = name.ok_or_else(|| Denial::at("the server's name")(Errno::EINVAL))?;
        match (launcher, action) {
            (Launcher::Process, "spawn") => self.start_beside(target, &name),
            (Launcher::Systemd, "spawn" | "stop" | "status") => {
                self.attend_unit(action, target, &name, limits)?;
                Ok(Rest::Mediator)
            }
            _ => Ok(Rest::Nothing),
        }
    }

    /// Ends what was started, and then the mediator, after it has read why.
    fn give_up(mut self, why: Option<Denial>) {
        end_children(GRACE);
        if let Some(denial) = why {
            self.wire.send(&denial.into());
        }
        // The mediator reads until this pipe ends.
        drop(self.wire);
        self.call.end_mediator(call::GRACE);
    }

    fn audit(&self, target: &Target, action: &str, code: &str) {
        let (caller, target) = (Some(self.order.caller), Some(target.account().name.as_str()));
        let record = Record { caller, target, action: Some(action), code };
        if let Err(line) = audit::write_record("sudospawner", &record) {
            audit::write_to_stderr(&line);
        }
    }

    /// Runs the hooks, and has a child give up root and become the server's supervisor.
    fn start_beside(&mut self, target: &Target, name: &ServerName) -> Result<Rest, Denial> {
        // A caller's limit could end this process between two hooks. The server gets the limits back.
        let limits = refresh_limits();
        let report = |result| self.wire.send(&Report::Hook(result));
        let prepared = run_hooks(target.clone(), &self.order.policy.hooks, name, report)?;
        if self.call.is_over(&self.wire.delivered) {
            return Err(Denial::CallerGone);
        }
        let leaves_something = has_children();
        let (delivered, deliver) = pipe2(OFlag::O_CLOEXEC).map_err(Denial::at("pipe"))?;
        match system_calls::fork().map_err(Denial::at("fork"))? {
            ForkResult::Parent { child: supervisor } => {
                Ok(Rest::Launch(Launch { supervisor, deliver, leaves_something }))
            }
            ForkResult::Child => {
                drop(deliver);
                self.call.forget_caller();
                self.wire.delivered = delivered;
                let report = self.become_supervisor(prepared, &limits);
                self.wire.send(&report);
                system_calls::exit_now(1)
            }
        }
    }

    /// Gives up root and becomes the server's supervisor. Returns only on failure.
    fn become_supervisor(&mut self, prepared: Prepared, limits: &[Limit]) -> Report {
        let Order { policy, inherited_umask, start_server, .. } = *self.order;
        // Its own session, so that no signal to the monitor's session reaches it.
        let proof = self.wire.detach().and_then(|()| {
            let mut limits = limits.iter();
            limits
                .try_for_each(|(resource, soft, hard)| set_limit(*resource, *soft, *hard))
                .map_err(Denial::at("setrlimit"))?;
            become_target(prepared, policy)
        });
        proof.map_or_else(Report::from, |proof| {
            start_server(&mut self.wire, &mut self.request, policy, inherited_umask, &proof)
        })
    }
}

/// The words of a missing decision: what the command line asked for.
fn describe_undecided(options: RootOptions<'_>) -> String {
    let action = options.action.filter(|action| ACTIONS.contains(action)).unwrap_or("?");
    let name = options.server_name.unwrap_or_default().replace(char::is_control, "?");
    format!("{action}\n{UNDECIDED}\n{name}")
}

/// A server that was started beside the Hub, until its caller knows.
struct Launch {
    /// The child that starts the server and becomes its supervisor.
    supervisor: Pid,
    /// Carries the word to the supervisor that the caller has its reply.
    deliver: OwnedFd,
    /// Whether a hook left a process behind.
    leaves_something: bool,
}

impl Launch {
    /// Stays until the caller has its reply; without one, ends server and supervisor. If hooks left a process
    /// behind, this process becomes the keeper.
    fn see_through(self, wire: Wire, mut call: Call) {
        // The mediator notices the supervisor's end only if nobody else can write reports.
        let Wire { reports, delivered } = wire;
        drop(reports);
        if call.read_word(&delivered) == Some(DELIVERED) {
            let _ = write(&self.deliver, &[DELIVERED]);
            call.end_mediator(call::GRACE);
            if self.leaves_something {
                // A keeper does not use the Hub's log.
                let _ = dup2_stderr(std::io::stdin());
                system_calls::execute_anew(&keeper::to_argv(self.supervisor));
                keeper::keep(self.supervisor);
            }
            return;
        }
        // Whoever reads to the end of the reply does not wait for what the kernel may keep.
        call.forget_caller();
        // The supervisor ends the server, unless its user prevents that.
        drop(self.deliver);
        let _ = kill(self.supervisor, Signal::SIGCONT);
        let _ = Pidfd::open(self.supervisor).map(|held| held.wait_for_end(LONGEST_ENDING));
        end_children(GRACE);
        call.end_mediator(call::GRACE);
    }
}
