//! Hooks after a server: what root runs when it and all that it left are gone, in reverse order of their names.
//!
//! Each server that will have them is in a list of its account's: a file below [`SERVERS`], from before its first hook
//! until after its last. So a hook knows whether another server needs what it would take away. What stays beside a
//! server holds a lock on the server's file, which ends with it, however it ends; the file of a server in a unit has
//! the unit's name, and systemd knows whether it is there. Servers of one account have their hooks run in turns.
//!
//! What these hooks are told is known at the start, and reaches them in the command line of what runs them: no account
//! is looked up at the end.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{Due, run_found};
use crate::account::{Account, Caller};
use crate::audit::{self, Record};
use crate::policy::file::{Hooks, Policy};
use crate::service_manager;
use ground::denial::Denial;
use ground::ending::{GRACE, INTERVAL, end_children};
use ground::report::{End, HookStatus};
use ground::waiting::wait_for_any;

/// The lists: a directory for each uid. Nobody but root can enter them, and none is there after a boot.
const SERVERS: &str = "/run/sudospawner/servers";
/// How long to wait for the account's turn, in addition to the time of one hook. The mediator waits twice as long.
pub const LONGEST_TURN: Duration = Duration::from_secs(30);
/// How long it takes to end a hook whose time is over, at most.
const LONGEST_END: Duration = Duration::from_secs(10);

/// The right to run hooks for an account.
pub type Turn = Flock<File>;

/// What hooks after a server are told of how it ended; nothing if it is not known, or if there never was a server.
pub type Told = Option<End>;

/// Waits for the account's turn to run hooks, and puts a server into the account's list. Returns the server's file,
/// whose lock ends with the last process that has it open, and the turn, which ends when it is dropped.
///
/// # Errors
/// [`Denial::HooksBusy`]; [`Denial::LaunchFailed`] if there can be no list.
pub fn enter(settings: &Hooks, account: &Account, name: &str) -> Result<(File, Turn), Denial> {
    let uid = account.uid.to_string();
    let turn = take_turn(&uid, settings.timeout)?;
    let file = File::create(find_place(&uid, name)).map_err(no_list)?;
    let held = file.try_clone().map_err(no_list)?;
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock);
    // Its end would unlock the file for all.
    std::mem::forget(lock.map_err(|(_, errno)| no_list(errno.into()))?);
    Ok((held, turn))
}

fn find_place(uid: &str, name: &str) -> PathBuf {
    [SERVERS, uid, name].iter().collect()
}

fn no_list(error: io::Error) -> Denial {
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    Denial::at("the list of servers below /run/sudospawner (hooks.after_dir)")(errno)
}

fn take_turn(uid: &str, timeout: Duration) -> Result<Turn, Denial> {
    let directory = find_place(uid, "");
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(no_list)?;
    let mut opened = File::open(directory).map_err(no_list)?;
    let (begin, longest) = (Instant::now(), LONGEST_TURN.saturating_add(timeout));
    while begin.elapsed() < longest {
        match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
            Ok(turn) => return Ok(turn),
            Err((same, _)) => opened = same,
        }
        let _ = wait_for_any(&mut [], INTERVAL);
    }
    Err(Denial::HooksBusy { seconds: longest.as_secs() })
}

/// How long hooks after a server may take, with the wait for the account's turn.
#[must_use]
pub fn find_longest(settings: &Hooks) -> Duration {
    let found = settings.after_dir.as_deref().map(super::find_hooks).unwrap_or_default();
    let each = settings.timeout.saturating_add(LONGEST_END);
    let all = each.saturating_mul(u32::try_from(found.len()).unwrap_or(u32::MAX));
    LONGEST_TURN.saturating_add(settings.timeout).saturating_add(all)
}

/// Runs the hooks after a server, and takes it out of the list. Does nothing for a server that is not in the list: it
/// has had no hooks before. The policy is read anew; `variables` are those of the hooks before. A hook that fails keeps
/// no other one from running.
pub fn run_hooks_after(name: &str, variables: Vec<Vec<u8>>, told: Told) {
    let find = |name: &str| {
        let value = variables.iter().find_map(|word| word.strip_prefix(name.as_bytes()));
        String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
    };
    let (user, uid) = (find("SUDOSPAWNER_USER="), find("SUDOSPAWNER_UID="));
    let place = find_place(&uid, name);
    let Ok(since) = fs::metadata(&place).and_then(|file| file.modified()) else { return };
    let mut turn = None;
    let done = Policy::load_for_root().and_then(|policy| {
        turn = Some(take_turn(&uid, policy.hooks.timeout)?);
        run_all(&policy.hooks, &user, &place, variables, since, told)
    });
    // Before the next turn: whoever has it must not find this server in the list.
    let _ = fs::remove_file(place);
    drop(turn);
    let code = done.map_or_else(|denial| denial.classify().0, |()| "ok");
    let caller = Some(&Caller::ROOT);
    let record = Record { caller, target: Some(&user), action: Some("after"), code };
    let _ = audit::write_record("sudospawner", &record);
}

fn run_all(
    settings: &Hooks,
    user: &str,
    place: &Path,
    mut variables: Vec<Vec<u8>>,
    since: SystemTime,
    told: Told,
) -> Result<(), Denial> {
    let Some(directory) = &settings.after_dir else { return Ok(()) };
    let seconds = since.elapsed().unwrap_or_default().as_secs();
    let (exit, signal) = match told {
        Some(End::Exited(status)) => (status.to_string(), String::new()),
        Some(End::Killed(number)) => (String::new(), number.to_string()),
        None => Default::default(),
    };
    let left = count_others(place).map_err(no_list)?;
    variables.extend([
        format!("SUDOSPAWNER_EXIT={exit}").into_bytes(),
        format!("SUDOSPAWNER_SIGNAL={signal}").into_bytes(),
        format!("SUDOSPAWNER_SECONDS={seconds}").into_bytes(),
        format!("SUDOSPAWNER_SERVERS_LEFT={left}").into_bytes(),
    ]);
    let due = Due::prepare(settings, directory, user, variables);
    let mut done = Ok(());
    for hook in due.found.iter().rev() {
        let ran = run_found(hook, &due.runner, &mut |result| {
            if !matches!(result.status, HookStatus::Running | HookStatus::Ok) {
                let _ = audit::write_failure("sudospawner", user, &result);
            }
        });
        done = done.and(ran.map_err(|name| Denial::HookFailed { name }));
    }
    end_children(GRACE);
    done
}

/// How many other servers are in the list. Files of servers that are gone are removed.
fn count_others(own: &Path) -> io::Result<usize> {
    let mut count = 0_usize;
    for entry in fs::read_dir(own.parent().unwrap_or(own))? {
        let path = entry?.path();
        if path == own {
            continue;
        }
        if is_there(&path)? {
            count = count.saturating_add(1);
        } else {
            fs::remove_file(path)?;
        }
    }
    Ok(count)
}

fn is_there(path: &Path) -> io::Result<bool> {
    let is_held = Flock::lock(File::open(path)?, FlockArg::LockExclusiveNonblock).is_err();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok(is_held || (name.ends_with(".service") && service_manager::is_there(name)))
}
