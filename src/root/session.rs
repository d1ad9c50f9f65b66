//! A PAM session round a server (`server.pam_service`): another program opens it in this process, and then executes
//! this one anew, which goes on where it was.
//!
//! ```text
//! hooks ─► enter ── exec ──► sudospawner-session, root ── exec ──► resume_if_asked ─► privileges
//! ```

use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use ground::account_name::parse_ids;
use ground::denial::Denial;
use ground::system_calls::{adopt_descriptor, execute, exit_now, find_beside};
use ground::waiting::within_limit;
use ground::wire::Wire;
use nix::unistd::Gid;

use crate::account::is_roots_own;
use crate::hooks::Prepared;
use crate::policy::file::{Launcher, Policy};
use crate::privileges::{Unprivileged, keep_keyring_and_become};
use crate::trusted_file::check_trusted;

/// Our `argv[0]` in a session, which no caller can choose; see the supervisor's.
const NAME: &str = "sudospawner-in-session";
/// The program beside our own that opens and closes sessions. It alone loads libpam.
pub const PROGRAM: &str = "sudospawner-session";

/// A process after giving up root: the first of a unit, or one that a session was opened in.
pub struct Begun {
    /// The proof that root is given up.
    pub proof: Unprivileged,
    /// The policy that was decided by.
    pub policy: Policy,
    /// The request, after the server's name.
    pub request: File,
    /// The variables that PAM has set, with a NUL after each. Root reads nothing of them.
    pub variables: Option<File>,
    /// Carries reports until the server is executed.
    pub wire: Wire,
}

/// Has the other program open a session of this service for a server. Returns only on failure.
pub fn enter(
    prepared: Prepared,
    service: &str,
    launcher: Launcher,
    wire: &Wire,
    request: &File,
) -> Denial {
    let program = find_beside(PROGRAM);
    // Check 2: nobody but root can have written what root executes.
    if let Err(distrust) = check_trusted(&program) {
        return Denial::BinaryUntrusted(distrust.to_string());
    }
    let target = prepared.into_inner();
    let (launcher, user) = (format!("{launcher:?}"), target.account().name.clone());
    let groups: Vec<String> = target.groups().iter().map(ToString::to_string).collect();
    let kept = [wire.reports.as_fd(), request.as_fd(), wire.delivered.as_fd()].into_iter();
    let kept: Vec<_> = kept.chain(wire.held.iter().map(AsFd::as_fd)).collect();
    let words = [PROGRAM.to_owned(), service.to_owned(), launcher, user, groups.join(",")];
    let words = words.into_iter().chain(kept.iter().map(|one| one.as_raw_fd().to_string()));
    let argv: Vec<CString> = words.flat_map(CString::new).collect();
    Denial::at("executing sudospawner-session")(execute(&program, &argv, &kept))
}

/// If the other program has executed this one, still as root, gives up root in the session. If that fails, the mediator
/// is told, and this process ends.
#[must_use]
pub fn resume_if_asked() -> Option<Begun> {
    let words: Vec<String> = std::env::args_os().flat_map(OsString::into_string).collect();
    let [name, launcher, user, groups, descriptors @ ..] = words.as_slice() else { return None };
    // Only root opens sessions, and only its program starts a root process by that name.
    if name != NAME || !is_roots_own() {
        return None;
    }
    let groups = parse_ids(groups)?.into_iter().map(Gid::from_raw).collect();
    let adopt = |number: &String| adopt_descriptor(number.parse().ok()?);
    let mut adopted = descriptors.iter().map(adopt).collect::<Option<Vec<_>>>()?.into_iter();
    let mut next = || adopted.next();
    let (variables, reports, request) = (next()?.into(), next()?.into(), next()?.into());
    let mut wire = Wire { reports, delivered: next()?, held: next() };
    let given_up = Policy::load_for_root().and_then(|mut policy| {
        let is_unit = *launcher == format!("{:?}", Launcher::Systemd);
        policy.server.launcher = if is_unit { Launcher::Systemd } else { Launcher::Process };
        let target = within_limit(|| policy.admit_target(user, Some(groups)))?;
        // Its hooks have run before the session was opened.
        Ok((keep_keyring_and_become(Prepared::without_hooks(target), &policy)?, policy))
    });
    let (proof, policy) = given_up.unwrap_or_else(|denial| {
        wire.send(&denial.into());
        exit_now(1)
    });
    Some(Begun { proof, policy, request, variables: Some(variables), wire })
}
