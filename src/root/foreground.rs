//! `--foreground`: this program as the first process of a server's unit. It runs the hooks and gives up root.
//! Then it reads the request as the target, and becomes the server.
//!
//! ```text
//! monitor ── systemd-run ──► PID 1 ──► unit: hooks ─► privileges ─► environment ─► exec server
//!     server name and request, in memory: stdin ┘  └─ reports: stdout, until the exec
//! ```

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use ground::account_name::parse_ids;
use ground::control_group;
use ground::denial::Denial;
use ground::ending::{GRACE, end_group};
use ground::report::{End, Report};
use ground::server_name::ServerName;
use ground::system_calls;
use ground::wire::{Wire, stdout_to_caller};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::sys::prctl;
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Gid, Pid, dup2_stdin, dup2_stdout, getppid};

use crate::account::is_roots_own;
use crate::hooks::{after, run_hooks};
use crate::policy::file::{Launcher, Policy};
use crate::privileges::{Unprivileged, become_nobody, become_target};
use crate::service_manager::{AFTER, FOREGROUND, GROUPS, STARTER};
use crate::session::{self, Begun};

/// In memory, the request follows a block of this many bytes with the server's name, padded with NUL. Root
/// reads only this block.
pub const BLOCK: usize = 256;

/// The seals that a request must have to be read: nobody can change it any more.
pub const SEALS: SealFlag =
    SealFlag::F_SEAL_WRITE.union(SealFlag::F_SEAL_SHRINK).union(SealFlag::F_SEAL_GROW);

fn read_name(file: &mut File) -> Result<ServerName, Denial> {
    let mut block = [0; BLOCK];
    let read = file.read_exact(&mut block);
    let name = block.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = String::from_utf8(name.to_vec()).ok().filter(|_| read.is_ok());
    name.and_then(ServerName::parse).ok_or_else(|| Denial::at("the server's name")(Errno::EINVAL))
}

/// If the monitor started this process as the first of a unit, runs the hooks and gives up root. For everyone
/// else, above all a Hub behind sudo, these words are no command line.
///
/// # Errors
/// Why there is no server, as a sentence for the journal. The mediator has been told, and this process is
/// nobody.
#[must_use]
pub fn begin_if_asked() -> Option<Result<Begun, String>> {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let [user, groups, starter, last] = words.as_slice() else { return None };
    let user = user.to_str()?.strip_prefix("--user=")?;
    let read = |word: &OsString, name| parse_ids(word.to_str()?.strip_prefix(name)?);
    let (groups, starter) = (read(groups, GROUPS)?, read(starter, STARTER)?);
    let groups = groups.into_iter().map(Gid::from_raw).collect();
    (is_unit() && last == FOREGROUND).then(|| {
        system_calls::begin();
        begin(user, groups, &starter).map_err(|sentence| match become_nobody() {
            Ok(_) => sentence,
            Err(denial) => denial.to_string(),
        })
    })
}

/// Whether systemd has started this process, as root.
fn is_unit() -> bool {
    // sudo or the like may have made a process root and left it to PID 1.
    getppid() == Pid::from_raw(1) && is_roots_own()
}

/// Opens the request and the pipe, of which systemd knows nothing if it runs our program again after the unit: it would
/// open them again, when they are gone.
fn take_pipes(starter: u32, pipes: &[u32]) -> Result<(), Errno> {
    let [request, reports] = pipes else { return Ok(()) };
    let open = |number: &u32, how: OFlag| {
        let how = how | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        open(format!("/proc/{starter}/fd/{number}").as_str(), how, Mode::empty())
    };
    dup2_stdin(open(request, OFlag::O_RDONLY)?)?;
    dup2_stdout(open(reports, OFlag::O_WRONLY)?)
}

/// If systemd has started this process for what has to be done after a server's unit, does it.
#[must_use]
pub fn run_hooks_after_if_asked() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != AFTER || !is_unit() {
        return None;
    }
    let unit = words.next()?.into_string().ok()?;
    let variables = words.map(OsString::into_vec).collect();
    let [code, status] =
        ["EXIT_CODE", "EXIT_STATUS"].map(|it| std::env::var(it).unwrap_or_default());
    system_calls::begin();
    let _ = prctl::set_child_subreaper(true);
    let _ = control_group::find_own().map(|own| end_group(&own, GRACE));
    after::run_hooks_after(&unit, variables, End::from_systemd(&code, &status));
    Some(ExitCode::SUCCESS)
}

fn begin(user: &str, groups: Vec<Gid>, starter: &[u32]) -> Result<Begun, String> {
    let (starter, pipes) = starter.split_first().ok_or("nobody has started this unit")?;
    if take_pipes(*starter, pipes).is_err() || !is_from_monitor() {
        let sentence =
            "this unit is started by sudospawner alone, once: have the Hub start the server";
        return Err(sentence.to_owned());
    }
    let mut wire =
        open_wire().map_err(|errno| format!("stdin and stdout cannot be used: {errno}"))?;
    let begun = give_up_root(user, groups, !pipes.is_empty(), &mut wire).map_err(|denial| {
        wire.send(&denial.clone().into());
        denial.to_string()
    });
    begun.map(|(proof, policy, request)| Begun { proof, policy, request, variables: None, wire })
}

/// Whether stdin and stdout are a request and a pipe that root made. systemd has only a path below `/proc`
/// with the monitor's pid, and opens it again if somebody restarts the unit. By then any process may have
/// that pid, even another user's.
fn is_from_monitor() -> bool {
    let is_of_root = |file: BorrowedFd<'_>, kind: SFlag| {
        fstat(file).is_ok_and(|stat| {
            stat.st_uid == 0 && SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == kind
        })
    };
    let (stdin, stdout) = (std::io::stdin(), stdout_to_caller());
    let seals = fcntl(&stdin, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate);
    seals.is_ok_and(|seals| seals.contains(SEALS))
        && is_of_root(stdin.as_fd(), SFlag::S_IFREG)
        && is_of_root(stdout.as_fd(), SFlag::S_IFIFO)
}

/// Our stdout is the mediator's pipe. It closes when the server is executed, and has lost its other end when
/// nobody waits for the server any more. From now on stdout goes to the journal.
fn open_wire() -> Result<Wire, Errno> {
    let stdout = stdout_to_caller();
    let copy = || stdout.as_fd().try_clone_to_owned().map_err(|_| Errno::EMFILE);
    let wire = Wire { reports: File::from(copy()?), delivered: copy()?, held: None };
    dup2_stdout(std::io::stderr())?;
    Ok(wire)
}

/// Checks 2 to 4, the hooks and check 7, as the monitor does for a server beside the Hub.
fn give_up_root(
    user: &str,
    groups: Vec<Gid>,
    is_followed: bool,
    wire: &mut Wire,
) -> Result<(Unprivileged, Policy, File), Denial> {
    let mut policy = Policy::load_for_root()?;
    // Whatever it says by now.
    policy.server.launcher = Launcher::Systemd;
    let target = policy.admit_target(user, Some(groups))?;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let mut request = File::from(stdin.map_err(|_| Denial::at("dup")(Errno::EMFILE))?);
    let server_name = read_name(&mut request)?;
    let unit = policy.systemd.unit_name.name_unit(user, &server_name)?;
    let enter = || after::enter(&policy.hooks, target.account(), unit.as_str());
    let turn = is_followed.then(enter).transpose()?;
    let report = |result| wire.send(&Report::Hook(result));
    let prepared = run_hooks(target, &policy.hooks, &server_name, report)?;
    drop(turn);
    if wire.is_abandoned() {
        return Err(Denial::CallerGone);
    }
    if let Some(service) = &policy.server.pam_service {
        return Err(session::enter(prepared, service, Launcher::Systemd, wire, &request));
    }
    let proof = become_target(prepared, &policy)?;
    Ok((proof, policy, request))
}
