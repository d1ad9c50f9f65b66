//! Hooks after a server: what root runs when it and all that it left are gone, in reverse order of their names.
//!
//! Each server that will have them is in a list of its account's ([`roster`]), from before its first hook until after
//! its last. So a hook knows whether another server needs what it would take away. What stays beside a server holds a
//! lock on the server's file; the file of a server in a unit has the unit's name, and systemd knows whether it is
//! there. Servers of one account have their hooks run in turns.
//!
//! What these hooks are told is known at the start, and reaches them in the command line of what runs them: no account
//! is looked up at the end.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use super::{Due, find_hooks, run_found};
use crate::account::{Account, Caller, parse_id};
use crate::audit::{self, Record};
use crate::policy::file::{Hooks, Policy};
use crate::service_manager;
use crate::trusted_file::make_trusted;
use ground::denial::Denial;
use ground::ending::{GRACE, LONGEST_ENDING, end_children};
use ground::report::{End, HookStatus};
use ground::roster;
use ground::syslog::{self, Severity};
use ground::turn::Turn;

/// The lists: a directory for each uid. Nobody but root can enter them, and none is there after a boot.
const SERVERS: &str = "/run/sudospawner/servers";
/// How long to wait for the account's turn, in addition to the time of one hook. The mediator waits twice as long.
const LONGEST_TURN: Duration = Duration::from_secs(30);

/// Waits for the account's turn to run hooks, and puts a server into the account's list, for as long as a process has
/// the returned file open.
///
/// # Errors
/// [`Denial::HooksBusy`]; [`Denial::LaunchFailed`] if there can be no list.
pub fn enter(settings: &Hooks, account: &Account, name: &str) -> Result<(File, Turn), Denial> {
    let place = find_place(account.uid.as_raw(), name);
    let turn = take_turn(&place, settings.timeout)?;
    roster::enter(&place).map(|held| (held, turn)).map_err(no_list)
}

fn find_place(uid: u32, name: &str) -> PathBuf {
    [SERVERS, &uid.to_string(), name].iter().collect()
}

fn take_turn(place: &Path, timeout: Duration) -> Result<Turn, Denial> {
    let longest = LONGEST_TURN.saturating_add(timeout);
    let folder = place.parent().unwrap_or(place);
    make_trusted(folder).map_err(|_| no_list(Errno::EPERM.into()))?;
    Turn::wait_for(folder, longest).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Denial::HooksBusy { seconds: longest.as_secs() },
        _ => no_list(error),
    })
}

fn no_list(error: io::Error) -> Denial {
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    Denial::at("the list of servers below /run/sudospawner (hooks.after_dir)")(errno)
}

/// How long it takes at most until the hooks after a server have run: the end of what it left, the wait for the
/// account's turn, each hook and the end of what that left. `None` if there are none.
#[must_use]
pub fn find_longest(settings: &Hooks) -> Option<Duration> {
    let found = find_hooks(settings.after_dir.as_ref()?);
    let each = settings.timeout.saturating_add(LONGEST_ENDING);
    Some(found.iter().fold(LONGEST_TURN.saturating_add(each), |sum, _| sum.saturating_add(each)))
}

/// Runs the hooks after a server, and takes it out of the list. Does nothing for a server that is not in the list: it
/// has had no hooks before, nor if there are no variables. The policy is read anew; `variables` are those of the hooks
/// before; `end` is how the server ended, if that is known.
pub fn run_hooks_after(name: &str, mut variables: Vec<Vec<u8>>, end: Option<End>) {
    let find = |name: &str| {
        let value = variables.iter().find_map(|word| word.strip_prefix(name.as_bytes()));
        String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
    };
    let user = find("SUDOSPAWNER_USER=");
    let Some(uid) = parse_id(&find("SUDOSPAWNER_UID=")) else { return };
    let place = find_place(uid, name);
    let Ok(since) = fs::metadata(&place).and_then(|file| file.modified()) else { return };
    let mut turn = None;
    let done = Policy::load_for_root().and_then(|policy| {
        turn = Some(take_turn(&place, policy.hooks.timeout)?);
        let left = roster::count_others(&place, service_manager::is_there).map_err(no_list)?;
        let seconds = since.elapsed().unwrap_or_default().as_secs();
        let [exit, signal] = end.map_or_else(Default::default, End::to_words);
        let more = [("EXIT", exit), ("SIGNAL", signal)].into_iter();
        let more =
            more.chain([("SECONDS", seconds.to_string()), ("SERVERS_LEFT", left.to_string())]);
        variables.extend(more.map(|(name, it)| format!("SUDOSPAWNER_{name}={it}").into_bytes()));
        run_all(&policy.hooks, &user, variables)
    });
    // Before the next turn: whoever has it must not find this server in the list.
    let _ = fs::remove_file(place);
    drop(turn);
    let code = done.map_or_else(|denial| denial.classify().0, |()| "ok");
    let (caller, target) = (Some(&Caller::ROOT), Some(user.as_str()));
    let record = Record { caller, target, action: Some("after"), code };
    let _ = audit::write_record("sudospawner", &record);
}

/// A hook that fails keeps no other one from running.
fn run_all(settings: &Hooks, user: &str, variables: Vec<Vec<u8>>) -> Result<(), Denial> {
    let Some(directory) = &settings.after_dir else { return Ok(()) };
    let due = Due::prepare(settings, directory, user, variables);
    let mut done = Ok(());
    for hook in due.found.iter().rev() {
        let ran = run_found(hook, &due.runner, &mut |result| {
            if !matches!(result.status, HookStatus::Running | HookStatus::Ok) {
                let (name, how) = (&result.name, result.explain());
                let line = format!("the hook {name:?} after a server of {user} {how}");
                let _ = syslog::write_line("sudospawner", Severity::Warning, &line);
            }
        });
        done = done.and(ran.map_err(|name| Denial::HookFailed { name }));
    }
    end_children(GRACE);
    done
}
