//! `--foreground`: what this program does as the first process of a server's unit. It runs the hooks, gives
//! up root, reads the request, and becomes the server.
//!
//! ```text
//! monitor ── systemd-run ──► PID 1 ──► unit: hooks ─► privileges ─► environment ─► exec server
//!     server name and request, in memory: stdin ┘  └─ reports: stdout, until the exec
//! ```

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;

use log::LevelFilter;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::sys::stat::{Mode as FileMode, SFlag, fstat, umask};
use nix::unistd::{Gid, Pid, dup2_stderr, dup2_stdin, dup2_stdout, geteuid, getppid, getuid};

use crate::account::{FOREIGN, parse_id};
use crate::denial::Denial;
use crate::error::Error;
use crate::hooks::run_hooks;
use crate::launcher::Plan;
use crate::policy::Rules;
use crate::policy::file::Policy;
use crate::policy::units::Umask;
use crate::privileges::{Unprivileged, become_target};
use crate::reply;
use crate::report::{Report, Wire};
use crate::server::Refusal;
use crate::server_name::ServerName;
use crate::service_manager::{FOREGROUND, GROUPS, STARTER};
use crate::supervisor::inherited::LogPlace;
use crate::supervisor::log_file::LogFile;
use crate::{diagnostics, system_calls};

/// In memory the server's name stands in front of the request, in so many bytes, the rest of which are NUL:
/// root reads no more than these.
pub const BLOCK: usize = 256;

/// What is known of the request when it is read: nobody changes it any more.
pub const SEALS: SealFlag =
    SealFlag::F_SEAL_WRITE.union(SealFlag::F_SEAL_SHRINK).union(SealFlag::F_SEAL_GROW);

/// The name as it stands in front of a request.
#[must_use]
pub fn name_to_block(name: &ServerName) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block.iter_mut().zip(name.as_str().bytes()).for_each(|(place, byte)| *place = byte);
    block
}

fn read_name(file: &mut File) -> Result<ServerName, Denial> {
    let mut block = [0; BLOCK];
    let read = file.read_exact(&mut block);
    let name = block.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = String::from_utf8(name.to_vec()).ok().filter(|_| read.is_ok());
    name.and_then(ServerName::parse).ok_or_else(|| Denial::at("the server's name")(Errno::EINVAL))
}

/// If this process is a unit's first, started by the monitor's words, is that until it becomes the server.
/// For everybody else, the Hub behind sudo above all, these words are no command line.
#[must_use]
pub fn run_if_asked() -> Option<ExitCode> {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let [user, groups, starter, last] = words.as_slice() else { return None };
    let user = user.to_str()?.strip_prefix("--user=")?;
    starter.to_str()?.strip_prefix(STARTER).and_then(parse_id)?;
    let ids = groups.to_str()?.strip_prefix(GROUPS)?.split(',').map(parse_id);
    let groups = ids.map(|id| id.map(Gid::from_raw)).collect::<Option<Vec<_>>>()?;
    // What sudo and its like have made root, and left to PID 1, has one of these, whoever called.
    let mut words_of_callers = FOREIGN.into_iter().chain(["SUDO_UID"]);
    let is_left = words_of_callers.any(|name| std::env::var_os(name).is_some());
    let is_root = getuid().is_root() && geteuid().is_root();
    let is_unit = is_root && getppid() == Pid::from_raw(1) && !is_left;
    (is_unit && last == FOREGROUND).then(|| run(user, groups))
}

fn run(user: &str, groups: Vec<Gid>) -> ExitCode {
    system_calls::begin();
    diagnostics::start_logging("sudospawner", LevelFilter::Info);
    if !is_from_monitor() {
        log::error!(
            "this unit is started by sudospawner alone, once: have the Hub start the server"
        );
        return ExitCode::FAILURE;
    }
    match open_wire() {
        Ok(mut wire) => {
            let report = match become_server(user, groups, &mut wire) {
                Ok(refusal) => Report::Refused(refusal),
                Err(error) => {
                    log::error!("{error}");
                    Report::Failed(error.into())
                }
            };
            wire.send(&report);
        }
        Err(errno) => log::error!("stdout cannot be used: {errno}"),
    }
    ExitCode::FAILURE
}

/// Whether stdin and stdout are a request and a pipe that root made. systemd knows them by a path below
/// `/proc` with the monitor's pid, and opens that anew when somebody restarts the unit: by then the pid can be
/// that of any process, of another user's as well.
fn is_from_monitor() -> bool {
    let is_of_root = |file: BorrowedFd<'_>, kind: SFlag| {
        fstat(file).is_ok_and(|stat| {
            stat.st_uid == 0 && SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == kind
        })
    };
    let (stdin, stdout) = (std::io::stdin(), reply::descriptor());
    let seals = fcntl(&stdin, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate);
    seals.is_ok_and(|seals| seals.contains(SEALS))
        && is_of_root(stdin.as_fd(), SFlag::S_IFREG)
        && is_of_root(stdout.as_fd(), SFlag::S_IFIFO)
}

/// The mediator's pipe, which is our stdout, and closed when the server is executed; its other end is gone
/// when nobody waits for the server any more. What is written to stdout goes to the journal from now on.
fn open_wire() -> Result<Wire, Errno> {
    let stdout = reply::descriptor();
    let copy = || stdout.as_fd().try_clone_to_owned().map_err(|_| Errno::EMFILE);
    let wire = Wire { reports: File::from(copy()?), delivered: copy()? };
    dup2_stdout(std::io::stderr())?;
    Ok(wire)
}

/// The bracketed part of the flow. Returns only if the server was not executed.
fn become_server(user: &str, groups: Vec<Gid>, wire: &mut Wire) -> Result<Refusal, Error> {
    let rules = Rules::load()?;
    let authority = rules.authority();
    let target = rules.admit_target(user, Some(groups))?;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let mut request = File::from(stdin.map_err(|_| Error::at("dup")(Errno::EMFILE))?);
    let server_name = read_name(&mut request)?;
    let report = |result| wire.send(&Report::Hook(result));
    let prepared = run_hooks(target, &authority.hooks, &server_name, report)?;
    if wire.is_abandoned() {
        return Err(Denial::CallerGone.into());
    }
    let proof = become_target(prepared, authority)?;
    let policy = rules.read_policy()?;
    let plan = Plan::read(&mut request, &policy, &proof)?;
    settle(&policy, &plan, &proof).map_err(Error::at("stdin and stderr of the server"))?;
    wire.send(&Report::Server(Pid::this().as_raw()));
    Ok(plan.execute(&proof))
}

/// What the server is to find: its umask, no stdin, and its log.
fn settle(policy: &Policy, plan: &Plan, proof: &Unprivileged) -> Result<(), Errno> {
    if let Some(Umask(bits)) = policy.server.umask {
        umask(FileMode::from_bits_truncate(bits));
    }
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, FileMode::empty())?;
    dup2_stdin(&null)?;
    if let LogPlace::File(path) = LogPlace::choose(policy.server.log, proof, &plan.server_name) {
        match LogFile::open(path.clone()).and_then(LogFile::into_file) {
            Ok(file) => {
                dup2_stdout(&file)?;
                dup2_stderr(&file)?;
            }
            Err(error) => {
                log::warn!("{} cannot be the log, the journal is: {error}", path.display());
            }
        }
    }
    Ok(())
}
