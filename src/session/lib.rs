//! `sudospawner-session`: opens the target's session of PAM's round a server, and closes it when the server has
//! ended. Only this program loads libpam.
//!
//! ```text
//! sudospawner, root ── exec ──► sudospawner-session ── exec ──► sudospawner, root ──► the target, the server
//!   the same process all along       ├── the watcher, until the session is open
//!                                    └── the closer, until the server has ended
//! ```
//!
//! Limits, control group and keyring that modules give are this process's, and so the server's. Variables go on in
//! memory, which root never reads.

mod closer;
mod order;
mod pam;
mod watcher;

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsFd;
use std::path::Path;

use ground::control_group::Membership;
use ground::denial::Denial;
use ground::report::Report;
use ground::system_calls::{self, afresh};
use ground::wire::send_to;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::unistd::{chdir, dup2_stdin, geteuid, getuid};

use order::{Order, Place};
use pam::{Session, Step};
use watcher::Watcher;

/// `argv[0]` of the mediator in a session; `root::session` has the same.
const RESUMED: &str = "sudospawner-in-session";
/// Where the files of PAM's services are. Without one, libpam takes the service `other`.
const SERVICES: [&str; 2] = ["/etc/pam.d", "/usr/lib/pam.d"];

/// Opens the session and executes the mediator in it. Returns only on failure, of which the mediator has been told. To
/// whoever else has started this program it says so.
pub fn carry_out(words: impl Iterator<Item = OsString>) -> Option<&'static str> {
    // With a setuid bit, the real uid would be that of whoever called.
    let is_root = getuid().is_root() && geteuid().is_root();
    let order = is_root.then(|| Order::read(words)).flatten();
    let Some(mut order) = order else {
        return Some("sudospawner alone starts this program, in root mode (server.pam_service)");
    };
    let Err(denial) = go_on_in_session(&order);
    send_to(&mut order.reports, &Report::from(denial));
    None
}

fn go_on_in_session(order: &Order) -> Result<Infallible, Denial> {
    system_calls::own_signals();
    // In a unit, stdin is the request.
    let nothing = open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
    nothing.and_then(dup2_stdin).and_then(|()| chdir("/")).map_err(Denial::at("stdin"))?;
    system_calls::join_new_session_keyring().map_err(Denial::at("a session keyring"))?;
    if order.place == Place::Beside {
        // systemd has done as much for a unit, with what root wants of it.
        afresh::settle();
    }
    // What modules leave is not the supervisor's, which could not end it.
    let receives_orphans = prctl::get_child_subreaper().map_err(Denial::at("prctl"))?;
    prctl::set_child_subreaper(false).map_err(Denial::at("prctl"))?;
    let unit = Membership::own();
    let session = open_session(order)?;
    if order.place == Place::Unit {
        // pam_systemd moves the process to a scope of its own, where the unit's limits do not count.
        unit.restore().map_err(Denial::at("going back to the unit's control group"))?;
    }
    let variables = session.list_variables();
    closer::start(session, order).map_err(Denial::at("fork"))?;
    let variables = keep(&variables).map_err(Denial::at("memory for PAM's variables"))?;
    prctl::set_child_subreaper(receives_orphans).map_err(Denial::at("prctl"))?;
    let argv = order.pass_on(RESUMED, &variables);
    let mut kept = order.list_descriptors();
    kept.push(variables.as_fd());
    let errno = system_calls::execute(&system_calls::find_beside("sudospawner"), &argv, &kept);
    Err(Denial::at("executing sudospawner in the session")(errno))
}

fn open_session(order: &Order) -> Result<Session, Denial> {
    let service = order.service.to_str().unwrap_or_default();
    // libpam would take the lower case of what follows the last slash.
    let is_right =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    let is_name = service.bytes().all(is_right);
    if !is_name || !SERVICES.iter().any(|folder| Path::new(folder).join(service).is_file()) {
        let reason = if is_name { "there is no file" } else { "no service can have this name:" };
        return Err(Step::Begin.fail(format!("{reason} {}/{service}", SERVICES[0])));
    }
    let mut watcher = Watcher::start(order).map_err(Denial::at("fork"))?;
    let opened = Session::begin(&order.service, &order.user).and_then(|mut session| {
        for step in [Step::Account, Step::Credentials, Step::Open] {
            watcher.announce(step);
            session.take(step)?;
        }
        Ok(session)
    });
    watcher.end();
    opened
}

/// Writes variables to memory, with a NUL after each. The target reads them, and has no other way to this memory.
fn keep(variables: &[CString]) -> Result<File, Errno> {
    let mut memory = File::from(memfd_create("variables", MFdFlags::MFD_CLOEXEC)?);
    let mut written = variables.iter().map(|one| memory.write_all(one.to_bytes_with_nul()));
    written
        .find_map(Result::err)
        .map_or(Ok(()), Err)
        .and_then(|()| memory.rewind())
        .map_err(|_| Errno::ENOMEM)?;
    Ok(memory)
}
