//! Starts the server on the node, says where it listens, and stays until it and all that it left have ended.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ground::ending::{LONGEST_ENDING, end_like, has_children};
use ground::report::{End, Report};
use ground::system_calls;
use ground::waiting::wait_for_any;
use ground::wire::Link;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::umask;
use nix::unistd::{ForkResult, Pid, chdir, getppid};
use root::policy::file::{Launcher, Policy};
use root::privileges::Unprivileged;
use target::environment::is_in;
use target::error::Error as Plain;
use target::grant::{Grant, Whom};
use target::launcher::plan::Plan;
use target::launcher::process;
use target::launcher::watch::{Place, Watch};
use target::mode::Mode;
use target::process::Process;
use target::process::identity::Identity;
use target::request::about_job::JobId;
use target::request::{Request, Spawn};
use target::server::Executable;
use target::user_mode;

use crate::error::Error;
use crate::port::{find_port, put_port};
use crate::programs::Programs;
use crate::queue::find_job;
use crate::seal::unseal;
use crate::section::Section;
use crate::submission::write_comment;
use crate::ticket::{LOOK, read_ticket};
use crate::word::Word;

/// How many ports are tried if another account takes one.
const TRIES: u32 = 3;
/// The variable that tells the server when its job ends, in seconds since 1970.
const END: &str = "SUDOSPAWNER_JOB_END";
/// The limit of one call of Slurm's programs,
const LONGEST_CALL: Duration = Duration::from_secs(30);
/// and how long to go on with a comment while the controller is away.
const LONGEST_TELLING: Duration = Duration::from_secs(3600);
/// The pause between two attempts.
const INTERVAL: Duration = Duration::from_secs(2);

/// The job that this process is.
struct Job {
    id: JobId,
    programs: Programs,
    /// The variables that Slurm has set.
    variables: BTreeMap<String, String>,
}

/// Does the job's work.
///
/// # Errors
/// A sentence, if this is no job.
pub fn run() -> Result<ExitCode, String> {
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    system_calls::clear_environment();
    let id = variables.get("SLURM_JOB_ID").and_then(|id| JobId::parse(id));
    let id = id.ok_or("this is no job of Slurm: SLURM_JOB_ID is missing")?;
    if variables.contains_key("SLURM_RESTART_COUNT") {
        return Err(
            "this job was queued again: its server has ended, and is not started twice".to_owned()
        );
    }
    // Blocked from now on, so that none is lost that comes while the server starts.
    let signals = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD];
    let signals = signals.into_iter().collect();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&signals), None).map_err(|errno| errno.to_string())?;
    // The policy, which may say where Slurm's programs are, is in the ticket.
    let usual = Programs::find(&Section::default());
    let (text, request) = read_ticket(std::io::stdin().lock(), |text| unseal(&usual, text))?;
    let section = Section::parse(&text)?;
    let programs = Programs::within_job(&section, variables.get("SLURM_CONF").cloned());
    let job = Job { id, programs, variables };
    if request == LOOK {
        let word = job.look(&text, &section).map_or_else(Word::from, |()| Word::Fine);
        job.tell(&word);
        return Ok(ExitCode::SUCCESS);
    }
    match job.serve(&text, request.as_bytes(), &section, &signals) {
        // Slurm keeps the exit status or signal of this process, and so tells how a server has ended. Its last lines
        // are in the job's output.
        Ok(end) | Err(Error::Plain(Plain::ExitedEarly { end, .. })) => Ok(end_like(end)),
        Err(error) => {
            log::error!("{error}");
            job.tell(&Word::from(error));
            Ok(ExitCode::FAILURE)
        }
    }
}

impl From<Error> for Word {
    fn from(error: Error) -> Self {
        Self::Failed { code: error.classify().0.to_owned(), sentence: error.to_string() }
    }
}

/// The policy that counts on the node, where a server is a process. This process has given up nothing yet.
fn read_policy(text: &str, section: &Section) -> Result<(Policy, Unprivileged), Error> {
    let malformed = |reason| Error::from(Plain::MalformedRequest(reason));
    let mut policy = match text {
        "" => user_mode::make_default_policy(),
        text => Policy::parse(text).map_err(malformed)?,
    };
    policy.server.launcher = Launcher::Process;
    policy.server.directory = section.directory.clone().or(policy.server.directory);
    Ok(user_mode::admit_in_job(policy)?)
}

impl Job {
    /// Looks whether a server could be started here.
    fn look(&self, text: &str, section: &Section) -> Result<(), Error> {
        let (policy, proof) = read_policy(text, section)?;
        Executable::find(&policy, Mode::User, &proof)?;
        let (home, target) = (proof.target().home.clone(), proof.target().name.clone());
        chdir(&home).map_err(|errno| Plain::HomeMissing { home, target, errno }.into())
    }

    /// Starts the server, and returns how it ended.
    fn serve(
        &self,
        text: &str,
        request: &[u8],
        section: &Section,
        signals: &SigSet,
    ) -> Result<End, Error> {
        let (policy, proof) = read_policy(text, section)?;
        let whom = Whom::from(&proof);
        let end = self.find_end();
        let mut tries = TRIES;
        loop {
            let port = find_port(&section.ports)?;
            let Request::Spawn(spawn) = Request::parse(request)? else {
                let sentence = "a job is for a spawn".to_owned();
                return Err(Plain::MalformedRequest(sentence).into());
            };
            let mut spawn = put_port(spawn, port);
            self.add_variables(&mut spawn, section, end);
            let wait = spawn.wait;
            let request = Request::Spawn(spawn);
            let grant = Grant::decide(&policy, &whom, &request)?;
            let Request::Spawn(spawn) = request else { continue };
            let plan = Plan::make(spawn, grant)?;
            let link = process::start(&plan, &policy, umask_of_this_process(), &proof)?;
            let mut watch = Watch::new(link, Place::Process, wait, false);
            match watch.until_up(&plan.directory, grant) {
                Ok(_) => {
                    let (pid, started) = watch.identify_server();
                    let server = Identity { pid: Pid::from_raw(pid), started };
                    let (link, _) = watch.into_parts();
                    let link = self.tell_apart(link, &Word::Listening(port))?;
                    return self.attend(link, &server, signals, &proof);
                }
                Err(error) => {
                    watch.into_parts().0.wait_for_undoing(LONGEST_ENDING);
                    tries = tries.saturating_sub(1);
                    if tries == 0 || !matches!(error, Plain::PortTaken { .. }) {
                        return Err(error.into());
                    }
                    log::warn!("{error}; another port is tried");
                }
            }
        }
    }

    /// Stays beside the server, whose supervisor ends it if this process goes away. Passes on the signals that Slurm
    /// sends to this process alone.
    fn attend(
        &self,
        mut link: Link,
        server: &Identity,
        signals: &SigSet,
        proof: &Unprivileged,
    ) -> Result<End, Error> {
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(signals, flags).map_err(Error::at("signalfd"))?;
        loop {
            let mut watched = [
                PollFd::new(link.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            let events = wait_for_any(&mut watched, Duration::MAX).map_err(Error::at("poll"))?;
            while let Ok(Some(info)) = signals.read_signal() {
                let number = i32::try_from(info.ssi_signo).unwrap_or(0);
                if number == Signal::SIGCHLD as i32 {
                    // What has written the comment has ended.
                    let _ = has_children();
                    continue;
                }
                if let Ok(Some(process)) = Process::open(server, proof) {
                    let _ = process.signal(number);
                }
                if number == Signal::SIGTERM as i32 {
                    log::warn!("{}", self.explain_notice());
                }
            }
            if events.first() != Some(&true) {
                continue;
            }
            match link.read_report() {
                Ok(Report::Ended(end, _)) => {
                    // The supervisor ends what is left, and then itself.
                    link.wait_for_undoing(LONGEST_ENDING);
                    return Ok(end);
                }
                Ok(_) => {}
                // The supervisor was killed. Slurm ends what is left.
                Err(denial) => return Err(denial.into()),
            }
        }
    }

    /// What a SIGTERM means: somebody ends the job, or its time is nearly over.
    fn explain_notice(&self) -> String {
        let job = find_job(&self.programs, self.id, LONGEST_CALL).ok().flatten();
        match job.and_then(|job| job.left) {
            Some(left) if left <= Duration::from_secs(120) => format!(
                "the time of this job is over in {} s: the server ends now; save your work, and start it again for another period",
                left.as_secs()
            ),
            _ => "the job is being ended, and its server with it".to_owned(),
        }
    }

    /// When the job ends, in seconds since 1970, if Slurm says so.
    fn find_end(&self) -> Option<u64> {
        // Not before Slurm 23.02.
        if let Some(end) = self.variables.get("SLURM_JOB_END_TIME") {
            return end.parse().ok();
        }
        let left = find_job(&self.programs, self.id, LONGEST_CALL).ok().flatten()?.left?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        Some(now.saturating_add(left).as_secs())
    }

    fn add_variables(&self, spawn: &mut Spawn, section: &Section, end: Option<u64>) {
        for (name, value) in &self.variables {
            if is_in(&section.environment, name) && !spawn.env.contains_key(name) {
                spawn.env.insert(name.clone(), value.clone());
            }
        }
        spawn.env.extend(end.map(|end| (END.to_owned(), end.to_string())));
    }

    /// Writes the job's comment in a process of its own, so that a controller that is away keeps no signal from the
    /// server.
    fn tell_apart(&self, link: Link, word: &Word) -> Result<Link, Error> {
        match system_calls::fork().map_err(Error::at("fork"))? {
            ForkResult::Parent { .. } => Ok(link),
            ForkResult::Child => {
                // Only the process that stays with the server may keep the supervisor from ending it.
                drop(link);
                self.tell(word);
                system_calls::exit_now(0)
            }
        }
    }

    /// Writes the job's comment. While the controller is away, again and again: nobody else knows the port. Whoever
    /// started this process may have ended with the job.
    fn tell(&self, word: &Word) {
        let (begun, parent) = (Instant::now(), getppid());
        let comment = word.write();
        while let Err(failure) = write_comment(&self.programs, self.id, &comment, LONGEST_CALL) {
            log::warn!("the job's comment could not be written: {failure}");
            let is_over = failure.is_of_ended_job() || getppid() != parent;
            if is_over || begun.elapsed() >= LONGEST_TELLING {
                return;
            }
            let _ = wait_for_any(&mut [], INTERVAL);
        }
    }
}

/// The umask that Slurm has given this process.
fn umask_of_this_process() -> nix::sys::stat::Mode {
    let own = umask(nix::sys::stat::Mode::empty());
    umask(own);
    own
}
