//! `--foreground`: this program as the first process of a server's unit. It runs the hooks and gives up root.
//! Then it reads the request as the target, and becomes the server.
//!
//! ```text
//! monitor ── systemd-run ──► PID 1 ──► unit: hooks ─► privileges ─► environment ─► exec server
//!     server name and request, in memory: stdin ┘  └─ reports: stdout, until the exec
//! ```

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};

use ground::denial::Denial;
use ground::report::Report;
use ground::server_name::ServerName;
use ground::system_calls;
use ground::wire::{Wire, stdout_to_caller};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Gid, Pid, dup2_stdout, geteuid, getppid, getuid};

use crate::account::{is_made_root, parse_id};
use crate::hooks::run_hooks;
use crate::policy::file::Policy;
use crate::privileges::{Unprivileged, become_nobody, become_target};
use crate::service_manager::{FOREGROUND, GROUPS, STARTER};

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

/// A unit's first process after giving up root.
pub struct Begun {
    /// The proof that root is given up.
    pub proof: Unprivileged,
    /// The policy that was decided by.
    pub policy: Policy,
    /// The request, after the server's name.
    pub request: File,
    /// Carries reports until the server is executed.
    pub wire: Wire,
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
    starter.to_str()?.strip_prefix(STARTER).and_then(parse_id)?;
    let ids = groups.to_str()?.strip_prefix(GROUPS)?.split(',').map(parse_id);
    let groups = ids.map(|id| id.map(Gid::from_raw)).collect::<Option<Vec<_>>>()?;
    // If sudo or the like made this process root and left it to PID 1, one of these is set.
    let is_root = getuid().is_root() && geteuid().is_root() && !is_made_root();
    let is_unit = is_root && getppid() == Pid::from_raw(1);
    (is_unit && last == FOREGROUND).then(|| {
        system_calls::begin();
        begin(user, groups).map_err(|sentence| match become_nobody() {
            Ok(_) => sentence,
            Err(denial) => denial.to_string(),
        })
    })
}

fn begin(user: &str, groups: Vec<Gid>) -> Result<Begun, String> {
    if !is_from_monitor() {
        let sentence =
            "this unit is started by sudospawner alone, once: have the Hub start the server";
        return Err(sentence.to_owned());
    }
    let mut wire =
        open_wire().map_err(|errno| format!("stdin and stdout cannot be used: {errno}"))?;
    let begun = give_up_root(user, groups, &mut wire).map_err(|denial| {
        wire.send(&denial.clone().into());
        denial.to_string()
    });
    begun.map(|(proof, policy, request)| Begun { proof, policy, request, wire })
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
    let wire = Wire { reports: File::from(copy()?), delivered: copy()? };
    dup2_stdout(std::io::stderr())?;
    Ok(wire)
}

/// Checks 2 to 4, the hooks and check 7, as the monitor does for a server beside the Hub.
fn give_up_root(
    user: &str,
    groups: Vec<Gid>,
    wire: &mut Wire,
) -> Result<(Unprivileged, Policy, File), Denial> {
    let policy = Policy::load_for_root()?;
    let target = policy.admit_target(user, Some(groups))?;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let mut request = File::from(stdin.map_err(|_| Denial::at("dup")(Errno::EMFILE))?);
    let server_name = read_name(&mut request)?;
    let report = |result| wire.send(&Report::Hook(result));
    let prepared = run_hooks(target, &policy.hooks, &server_name, report)?;
    if wire.is_abandoned() {
        return Err(Denial::CallerGone);
    }
    let proof = become_target(prepared, &policy)?;
    Ok((proof, policy, request))
}
