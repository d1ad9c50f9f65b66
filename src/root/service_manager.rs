//! What root asks systemd about a server's unit. It calls systemd's own programs with fixed words and an
//! empty environment. The words contain no secret.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::policy::Target;
use crate::unit_properties::Property;
use ground::control_group::begin_grace_period;
use ground::denial::Denial;
use ground::ending::LONGEST_ENDING;
use ground::output::Output;
use ground::placeholders::quote;
use ground::program::Program;
use ground::unit_name::UnitName;

const RUN: &str = "/usr/bin/systemd-run";
const CONTROL: &str = "/usr/bin/systemctl";
const JOURNAL: &str = "/usr/bin/journalctl";
/// How many lines of the journal are shown for a server that ended early.
const LAST_LINES: &str = "--lines=40";

/// The longest wait for systemd in any call. A unit starts within the policy's `TimeoutStartSec=` and ends
/// within its `TimeoutStopSec=` if these are shorter.
const LONGEST_CALL: Duration = Duration::from_secs(600);
/// How much of an answer is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// The properties of a unit's state, systemctl(1).
const STATE: &str = "--property=LoadState,ActiveState,Transient,ExecStart,MainPID,ExecMainPID,ExecMainCode,\
                     ExecMainStatus,Result,InvocationID,ControlGroup,MemoryMax";

/// The last word of our command line in a unit; see [`crate::foreground`].
pub const FOREGROUND: &str = "--foreground";
/// The word before it: the process that has started the unit, so that it recognizes its own, and the descriptors of
/// request and reports if systemd has not opened them.
pub const STARTER: &str = "--started-by=";
/// The word before that: the target's groups, so that they are looked up only once. PID 1 answers part of
/// that lookup, and is busy while it starts a unit.
pub const GROUPS: &str = "--groups=";

/// The first word of our command line in what systemd runs after a unit.
pub const AFTER: &str = "--after";

/// Why the name of one of our units cannot be used again.
const LEFT: &str = "systemd could not end it; see systemctl status";

/// The unit of a server.
#[derive(Debug)]
pub struct Unit {
    name: UnitName,
    /// The path of this program, which our units execute.
    own: String,
}

impl Unit {
    /// The unit with this name.
    ///
    /// # Errors
    /// [`Denial::LauncherUnavailable`] if our own path is not text.
    pub fn new(name: UnitName) -> Result<Self, Denial> {
        let own = std::fs::read_link("/proc/self/exe").ok().and_then(|path| {
            let path = path.into_os_string().into_string().ok()?;
            // The kernel adds this after a new version of the package has replaced the file.
            Some(path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned())
        });
        let own = own.ok_or_else(|| unavailable("our own path is not text".to_owned()))?;
        Ok(Self { name, own })
    }

    /// Starts the unit, which executes this program in the foreground. `pipes` are empty if its stdin and stdout are
    /// among the properties, and otherwise a comma and these descriptors of this process, for it to open.
    ///
    /// # Errors
    /// [`Denial::AlreadyRunning`] if a unit of that name exists that is not ours or cannot be ended, and
    /// [`Denial::LauncherUnavailable`] with what systemd says.
    pub fn start(
        &self,
        target: &Target,
        properties: &[Property],
        pipes: &str,
    ) -> Result<(), Denial> {
        let groups: Vec<String> = target.groups().iter().map(ToString::to_string).collect();
        let mut words = vec![
            "--no-ask-password".to_owned(),
            format!("--unit={}", self.name.as_str()),
            "--service-type=exec".to_owned(),
            "--property=StandardError=journal".to_owned(),
        ];
        words.extend(properties.iter().map(|(name, value)| format!("--property={name}={value}")));
        words.extend([
            "--".to_owned(),
            self.own.clone(),
            // systemd expands `$` in the arguments of a command, but not in its path.
            format!("--user={}", target.account().name.replace('$', "$$")),
            format!("{GROUPS}{}", groups.join(",")),
            name_starter() + pipes,
            FOREGROUND.to_owned(),
        ]);
        let Err(_) = call(RUN, &words)? else { return Ok(()) };
        self.make_free()?;
        let Err(sentence) = call(RUN, &words)? else { return Ok(()) };
        // systemd keeps an earlier server's unit, as inactive, whose processes the kernel keeps.
        let shown = self.show()?;
        let is_kept = self.is_ours(&shown) && !self.is_started_here(&shown);
        Err(if is_kept { self.occupied(LEFT) } else { unavailable(sentence) })
    }

    /// The properties by which systemd runs our program after the unit, with these variables and for this time.
    #[must_use]
    pub fn list_after_properties(&self, limit: Duration, variables: &[Vec<u8>]) -> Vec<Property> {
        let words = [self.own.as_str(), AFTER, self.name.as_str()].map(quote).into_iter();
        let variables = variables.iter().map(|word| quote(&String::from_utf8_lossy(word)));
        let words: Vec<String> = words.chain(variables).collect();
        // Without a sandbox, and without expanding `$`.
        let command = format!(":+{}", words.join(" "));
        let properties = [
            ("ExecStopPost", command),
            ("TimeoutStopSec", limit.as_secs().to_string()),
            // That program ends what the server left. systemd would leave what ignores SIGTERM for so long.
            ("KillMode", "process".to_owned()),
            ("StandardOutput", "journal".to_owned()),
        ];
        properties.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// Ends what may be left of an earlier server in this unit.
    fn make_free(&self) -> Result<(), Denial> {
        let shown = self.show()?;
        let reason = if shown.contains("LoadState=not-found\n") {
            return Ok(());
        } else if self.is_ours(&shown) {
            self.stop()?;
            if self.show()?.contains("ActiveState=inactive\n") {
                return Ok(());
            }
            LEFT
        } else {
            "it is not one of this program's, which leaves it alone; rename it, or choose another systemd.unit_name"
        };
        Err(self.occupied(reason))
    }

    fn occupied(&self, reason: &str) -> Denial {
        let unit = self.name.as_str().to_owned();
        Denial::AlreadyRunning { unit, reason: reason.to_owned() }
    }

    /// The unit's state, as lines of `Name=value`.
    ///
    /// # Errors
    /// [`Denial::LauncherUnavailable`].
    pub fn show(&self) -> Result<String, Denial> {
        self.control(&["show", STATE])?.map_err(unavailable)
    }

    /// Ends every process of the unit, waits for that, and makes systemd forget the unit. A unit that is not
    /// ours is left alone.
    ///
    /// # Errors
    /// [`Denial::LauncherUnavailable`].
    pub fn stop(&self) -> Result<(), Denial> {
        if self.end_processes(|| {})? { self.forget() } else { Ok(()) }
    }

    /// The same, if this process has started the unit and no other call has replaced it since.
    ///
    /// # Errors
    /// [`Denial::LauncherUnavailable`].
    pub fn undo(&self) -> Result<(), Denial> {
        if self.is_started_here(&self.show()?) { self.stop() } else { Ok(()) }
    }

    /// The first half of [`Unit::stop`]: ends every process and waits for that. Returns whether the unit was
    /// ours. `tell` is called when whoever asked need not wait any longer.
    ///
    /// # Errors
    /// [`Denial::LauncherUnavailable`].
    pub fn end_processes(&self, tell: impl FnOnce()) -> Result<bool, Denial> {
        let ours = self.is_ours(&self.show()?);
        if ours {
            let mut stopping = Running::begin(CONTROL, &self.list_words(&["stop"]))?;
            let _ = stopping.output.read_until_end_of(stopping.child, LONGEST_ENDING);
            tell();
            let _ = stopping.finish()?;
        } else {
            tell();
        }
        Ok(ours)
    }

    /// The second half: makes systemd forget a failure of the unit.
    ///
    /// # Errors
    /// [`Denial::LauncherUnavailable`].
    pub fn forget(&self) -> Result<(), Denial> {
        self.control(&["reset-failed"]).map(drop)
    }

    /// The same, if the unit is ours.
    ///
    /// # Errors
    /// [`Denial::LauncherUnavailable`].
    pub fn forget_own(&self) -> Result<(), Denial> {
        if self.is_ours(&self.show()?) { self.forget() } else { Ok(()) }
    }

    /// Writes the journal's last lines of the unit, if this process has started it. Writes nothing if there
    /// is no journal.
    pub fn print_journal(&self, to: &File) {
        let Ok(shown) = self.show() else { return };
        if !self.is_started_here(&shown) {
            return;
        }
        let find = |name| shown.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?");
        let _ = call(JOURNAL, &["--sync".to_owned()]);
        let only = [
            format!("_SYSTEMD_INVOCATION_ID={}", find("InvocationID=")),
            "+".to_owned(),
            // Lines that reach the journal after the unit's end are not attributed to this start, but only to
            // the process.
            format!("_SYSTEMD_UNIT={}", self.name.as_str()),
            format!("_PID={}", find("ExecMainPID=")),
        ];
        let how = ["--quiet", "--no-pager", "--output=cat", "--boot", LAST_LINES];
        let words: Vec<String> = how.into_iter().map(str::to_owned).chain(only).collect();
        let null = OpenOptions::new().write(true).open("/dev/null");
        let journal = null.map_err(|_| Errno::EIO).and_then(|null| {
            prepare(JOURNAL, &words)?.start(None, Some([to.as_fd(), null.as_fd()]))
        });
        let _ = journal
            .map(|child| Running { program: JOURNAL, child, output: Output::default() }.finish());
    }

    /// Whether this program made the unit: it is transient and executes this program in the foreground.
    fn is_ours(&self, shown: &str) -> bool {
        let begin = format!("ExecStart={{ path={} ;", self.own);
        let end = format!(" {FOREGROUND} ;");
        let is_our_command = |line: &str| line.starts_with(&begin) && line.contains(&end);
        shown.contains("Transient=yes\n") && shown.lines().any(is_our_command)
    }

    /// Whether this process has started the unit.
    fn is_started_here(&self, shown: &str) -> bool {
        let by_this = shown.split_once(&format!(" {}", name_starter()));
        self.is_ours(shown) && by_this.is_some_and(|(_, rest)| rest.starts_with([' ', ',']))
    }

    fn control(&self, words: &[&str]) -> Result<Result<String, String>, Denial> {
        call(CONTROL, &self.list_words(words))
    }

    fn list_words(&self, words: &[&str]) -> Vec<String> {
        let how = ["--quiet", "--no-ask-password", "--", self.name.as_str()];
        words.iter().chain(&how).map(|word| (*word).to_owned()).collect()
    }
}

fn name_starter() -> String {
    format!("{STARTER}{}", Pid::this())
}

fn prepare(program: &str, words: &[String]) -> Result<Program, Errno> {
    let words = [program].into_iter().chain(words.iter().map(String::as_str));
    Program::new(words, ["LC_ALL=C"])
}

/// What one of systemd's programs wrote. If the program failed, this is the inner error.
fn call(program: &'static str, words: &[String]) -> Result<Result<String, String>, Denial> {
    Running::begin(program, words)?.finish()
}

/// One of systemd's programs, which runs.
struct Running {
    program: &'static str,
    child: Pid,
    output: Output,
}

impl Running {
    fn begin(program: &'static str, words: &[String]) -> Result<Self, Denial> {
        let at = |errno: Errno| unavailable(format!("{program}: {errno}"));
        let (output, input) = Output::keep(LONGEST_ANSWER).map_err(at)?;
        let prepared = prepare(program, words);
        let child = prepared.and_then(|it| it.start(None, Some([input.as_fd(); 2]))).map_err(at)?;
        if program == RUN {
            begin_grace_period();
        }
        Ok(Self { program, child, output })
    }

    /// Waits for its end, and kills it if that does not come.
    fn finish(mut self) -> Result<Result<String, String>, Denial> {
        let Self { program, child, .. } = self;
        let in_time = self.output.read_until_end_of(child, LONGEST_CALL) == Ok(true);
        if !in_time {
            let _ = kill(child, Signal::SIGKILL);
        }
        let success = waitpid(child, None) == Ok(WaitStatus::Exited(child, 0));
        if !in_time {
            let seconds = LONGEST_CALL.as_secs();
            return Err(unavailable(format!("{program}: no answer within {seconds} seconds")));
        }
        let text = String::from_utf8_lossy(&self.output.bytes).into_owned();
        Ok(if success { Ok(text) } else { Err(text.trim().to_owned()) })
    }
}

/// Whether a unit is there, or what systemd runs after it; also if systemd does not say.
pub fn is_there(unit: &str) -> bool {
    let words = ["show", "--property=ActiveState", "--", unit].map(str::to_owned);
    let has_ended =
        |shown: String| shown == "ActiveState=inactive\n" || shown == "ActiveState=failed\n";
    unit.ends_with(".service")
        && !call(CONTROL, &words).is_ok_and(|shown| shown.is_ok_and(has_ended))
}

fn unavailable(reason: String) -> Denial {
    Denial::LauncherUnavailable(reason)
}
