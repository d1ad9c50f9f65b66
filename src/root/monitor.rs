//! The monitor: the part of root mode that stays root while the process that answers the call is nobody.
//!
//! It is forked as soon as the policy is read. It decides who calls for whom (checks 3 and 4) before any byte
//! of the request is read. The mediator reads and checks the request as nobody, whom neither the target nor
//! the caller can signal. It tells the monitor only the decision, the action and the server's name, which the
//! monitor checks again. The monitor writes the audit line. For a spawn it runs the hooks, has the server
//! started, and stays until the caller has its reply. The server is started by a child, which gives up root
//! before it reads the request and becomes the supervisor, or by systemd in a unit. Everything else is done by
//! a child that gives up root in the same way (`agent`).
//!
//! The target can stop and kill those children, but not the mediator. So the monitor waits until the mediator
//! ends, which watches the caller, and every wait has a time limit.

mod agent;
mod unit;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ground::denial::Denial;
use ground::ending::{GRACE, LONGEST_ENDING, end_children, has_children};
use ground::pidfd::Pidfd;
use ground::report::Report;
use ground::server_name::ServerName;
use ground::syslog;
use ground::system_calls;
use ground::system_calls::afresh::{Limit, set_limit};
use ground::waiting::{wait_for_any, within_limit};
use ground::wire::{DELIVERED, Link, Wire};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::stat::Mode as FileMode;
use nix::unistd::{ForkResult, Pid, dup2_stderr, pipe2, read, write};

use crate::account::{Caller, Way};
use crate::audit::{self, Record};
use crate::enrolment::enrol;
use crate::hooks::{Prepared, after, list_variables, run_hooks};
use crate::keeper;
use crate::options::RootOptions;
use crate::policy::Target;
use crate::policy::file::{Launcher, Policy};
use crate::privileges::{Unprivileged, become_target, become_wholly_root};
use crate::session;

/// The maximum size of a decision: the longest name, two words and two numbers. The mediator writes it at
/// once, pipe(7).
const MAX_DECISION: usize = 512;
/// A request may take a minute, so what is undecided after this time stays so.
const LONGEST_DECISION: Duration = Duration::from_secs(75);
/// The longest time that a call takes: a stop waits three times, an hour each at most.
const LONGEST_CALL: Duration = Duration::from_secs(4 * 3600);
/// What the audit line says if the mediator ends before it has decided.
const UNDECIDED: &str = "undecided";
/// The actions that a command line may name.
const ACTIONS: [&str; 4] = ["spawn", "kill", "stop", "status"];

/// The mediator's end of its monitor. The mediator is nobody by then.
#[derive(Debug)]
pub struct Monitor {
    /// Carries the decision to the monitor.
    pub decision: File,
    /// Holds the request, written before the decision.
    pub request: File,
    /// Carries what the monitor and its children have to say.
    pub link: Link,
}

/// What a monitor needs to start.
pub struct Order<'a> {
    /// The policy to decide by.
    pub policy: &'a Policy,
    /// The options on the command line.
    pub options: RootOptions<'a>,
    /// Who called.
    pub caller: &'a Caller,
    /// The caller's umask.
    pub inherited_umask: FileMode,
    /// The caller's limits. This process has others by now, with which root's part cannot be starved.
    pub inherited_limits: &'a [Limit],
    /// What a child does for a spawn after it has become the target: reads the request, starts the server and
    /// becomes its supervisor. Returns only on failure, with the reason.
    pub supervise: fn(&mut Wire, &mut File, &Policy, FileMode, &Unprivileged) -> Report,
    /// What a child does for everything else: reads the request and carries it out. It asks this monitor about
    /// the server's unit.
    pub act: fn(&mut Link, &mut File, &Policy, &Unprivileged) -> Report,
}

impl Monitor {
    /// Forks the monitor.
    ///
    /// # Errors
    /// [`Denial::LaunchFailed`].
    pub fn start(order: &Order<'_>) -> Result<Self, Denial> {
        let (wire, link) = Wire::open()?;
        let (decision, tell) = pipe2(OFlag::O_CLOEXEC).map_err(Denial::at("pipe"))?;
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let request = File::from(memfd_create("request", flags).map_err(Denial::at("memfd"))?);
        match system_calls::fork().map_err(Denial::at("fork"))? {
            ForkResult::Parent { .. } => Ok(Self { decision: File::from(tell), request, link }),
            ForkResult::Child => {
                drop((tell, link));
                let mut work = Work { order, wire, request, followed: Vec::new() };
                match work.follow_decision(&decision) {
                    Ok(None) => {}
                    Ok(Some(launch)) => work.see_through(launch),
                    Err(denial) => {
                        end_children(GRACE);
                        work.wire.send(&denial.into());
                        after::run_hooks_after(&Pid::this().to_string(), work.followed, None);
                    }
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
    /// The variables of the hooks that will follow the server; empty if there are none.
    followed: Vec<Vec<u8>>,
}

impl Work<'_> {
    /// Decides for whom, waits for the decision about what, records it and acts on it. Returns what is left to
    /// do for a server beside the Hub.
    fn follow_decision(&mut self, decision: &OwnedFd) -> Result<Option<Launch>, Denial> {
        self.wire.detach()?;
        become_wholly_root().map_err(Denial::at("becoming root"))?;
        let target =
            self.admit().inspect_err(|denial| self.audit(None, None, denial.classify().0))?;
        let account = target.account();
        self.wire.send(&Report::Admitted(account.uid.as_raw(), account.home.display().to_string()));
        let told = read_words(decision, &self.wire.delivered, MAX_DECISION, LONGEST_DECISION);
        let text = std::str::from_utf8(&told).ok().filter(|text| !text.is_empty());
        // A missing decision is about what the command line asked for.
        let asked = self.order.options.action.filter(|it| ACTIONS.contains(it)).unwrap_or("?");
        let text = text.map_or_else(|| format!("{asked}\n{UNDECIDED}"), str::to_owned);
        let mut words = text.splitn(4, '\n').chain([""; 4]);
        let mut next = || words.next().unwrap_or_default();
        let (action, code, name, limits) = (next(), next(), next(), next());
        self.audit(Some(&account.name), Some(action), code);
        if code != "ok" {
            return Ok(None);
        }
        let name = ServerName::parse(name.to_owned());
        let name = name.ok_or_else(|| Denial::at("the server's name")(Errno::EINVAL))?;
        match (self.order.policy.server.launcher, action) {
            (Launcher::Process, "spawn") if self.order.caller.way == Way::Socket => {
                Err(Denial::LauncherBesideDoor)
            }
            (Launcher::Process | Launcher::Slurm, "spawn") => {
                self.start_beside(target, &name).map(Some)
            }
            (Launcher::Systemd, "spawn") => self.start_unit(&target, &name, limits).map(|()| None),
            (_, "kill" | "stop" | "status") => {
                self.have_agent_act(action, target, &name).map(|()| None)
            }
            _ => Ok(None),
        }
    }

    /// Checks 3 and 4. Between them, a spawn has an account made that is not there yet.
    fn admit(&self) -> Result<Target, Denial> {
        let Order { policy, options, caller, .. } = self.order;
        within_limit(|| policy.admit_caller(caller))?;
        if options.action == Some("spawn") {
            let made = enrol(options.user, policy);
            if made != Ok(false) {
                let code = made.as_ref().map_or_else(|denial| denial.classify().0, |_| "ok");
                // A longer name would have no room in the log.
                let name: String = options.user.chars().take(255).collect();
                self.audit(Some(&name), Some("create"), code);
            }
            made?;
        }
        within_limit(|| policy.admit_target(options.user, None))
    }

    fn audit(&self, target: Option<&str>, action: Option<&str>, code: &str) {
        let record = Record { caller: Some(self.order.caller), target, action, code };
        if let Err(line) = audit::write_record("sudospawner", &record) {
            syslog::write_to_stderr(&line);
        }
    }

    /// Runs the hooks, and has a child give up root and become the server's supervisor.
    fn start_beside(&mut self, target: Target, name: &ServerName) -> Result<Launch, Denial> {
        let settings = &self.order.policy.hooks;
        let mut turn = None;
        if settings.after_dir.is_some() {
            // What ends the Hub's unit sends these to all processes in it, and has to wait for the hooks.
            let signals = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
            let _ = signals.into_iter().collect::<SigSet>().thread_block();
            let (held, taken) = after::enter(settings, target.account(), &Pid::this().to_string())?;
            self.wire.held = Some(held.into());
            self.followed = list_variables(&target, name);
            turn = Some(taken);
        }
        let report = |result| self.wire.send(&Report::Hook(result));
        let prepared = run_hooks(target, settings, name, report)?;
        drop(turn);
        if self.wire.is_abandoned() {
            return Err(Denial::CallerGone);
        }
        let leaves_something = has_children();
        let (delivered, deliver) = pipe2(OFlag::O_CLOEXEC).map_err(Denial::at("pipe"))?;
        match system_calls::fork().map_err(Denial::at("fork"))? {
            ForkResult::Parent { child: supervisor } => {
                Ok(Launch { supervisor, deliver, leaves_something })
            }
            ForkResult::Child => {
                drop(deliver);
                self.wire.delivered = delivered;
                let report = self.become_supervisor(prepared);
                self.wire.send(&report);
                system_calls::exit_now(1)
            }
        }
    }

    /// Gives up root and becomes the server's supervisor. Returns only on failure.
    fn become_supervisor(&mut self, prepared: Prepared) -> Report {
        let Order { policy, inherited_umask, inherited_limits, supervise, .. } = *self.order;
        // Its own session, so that no signal to the monitor's session reaches it.
        let proof = self.wire.detach().and_then(|()| {
            if let Some(service) = &policy.server.pam_service {
                let (wire, request) = (&self.wire, &self.request);
                return Err(session::enter(prepared, service, Launcher::Process, wire, request));
            }
            // The server gets the caller's limits back, unless the policy has others.
            let mut limits = inherited_limits.iter();
            limits
                .try_for_each(|(resource, soft, hard)| set_limit(*resource, *soft, *hard))
                .map_err(Denial::at("setrlimit"))?;
            become_target(prepared, policy)
        });
        proof.map_or_else(Report::from, |proof| {
            supervise(&mut self.wire, &mut self.request, policy, inherited_umask, &proof)
        })
    }
}

/// Reads what comes through a pipe at once, at most `most` bytes. Empty at the end of the pipe, if it takes too
/// long, and if the mediator, whose pipe the other one is, has ended.
fn read_words(pipe: &OwnedFd, mediator: &OwnedFd, most: usize, limit: Duration) -> Vec<u8> {
    let mut watched =
        [pipe, mediator].map(|watched| PollFd::new(watched.as_fd(), PollFlags::POLLIN));
    let is_there =
        wait_for_any(&mut watched, limit).is_ok_and(|events| events.first() == Some(&true));
    let mut words = vec![0; if is_there { most } else { 0 }];
    let count = read(pipe, &mut words).unwrap_or(0);
    words.truncate(count);
    words
}

/// Waits for the mediator's word that the caller has its reply, and returns whether it came.
fn is_delivered(mediator: &OwnedFd) -> bool {
    read_words(mediator, mediator, 1, LONGEST_CALL) == [DELIVERED]
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

impl Work<'_> {
    /// Stays until the caller has its reply; without one, ends server and supervisor. If hooks left a process
    /// behind, or will follow the server, this process becomes the keeper.
    fn see_through(self, launch: Launch) {
        let Launch { supervisor, deliver, leaves_something } = launch;
        // The mediator notices the supervisor's end only if nobody else can write reports.
        let Wire { reports, delivered, held } = self.wire;
        drop(reports);
        if is_delivered(&delivered) {
            let _ = write(&deliver, &[DELIVERED]);
            if leaves_something || !self.followed.is_empty() {
                // A keeper does not use the Hub's log.
                let _ = dup2_stderr(std::io::stdin());
                let kept: Vec<_> = held.iter().map(AsFd::as_fd).collect();
                system_calls::execute_anew(&keeper::to_argv(supervisor, &self.followed), &kept);
                keeper::keep(supervisor, self.followed);
            }
            return;
        }
        // The supervisor ends the server, unless its user prevents that.
        drop(deliver);
        let _ = kill(supervisor, Signal::SIGCONT);
        let _ = Pidfd::open(supervisor).map(|held| held.wait_for_end(LONGEST_ENDING));
        // Without Slurm's controller a job cannot be cancelled. Its submitter, which is the target's, goes on alone.
        if leaves_something || self.order.policy.server.launcher != Launcher::Slurm {
            end_children(GRACE);
        }
        after::run_hooks_after(&Pid::this().to_string(), self.followed, None);
    }
}
