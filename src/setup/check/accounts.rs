//! Accounts and groups, as the account database has them. A directory behind it may never answer, and NSS knows no
//! time limit. So each question is asked in a separate process.

use std::ffi::OsString;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::unistd::{Gid, Group, Uid, getuid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::apart::Silence;
use super::directory::{name_directories, restart_directories};
use super::finding::{Area, Finding};
use super::viewpoint::{LIMIT, look_apart};
use root::account::Account;

/// How long each further answer may take where one has not come.
const SHORT_LIMIT: Duration = Duration::from_secs(2);

/// An account, as one process tells it to another.
#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    uid: u32,
    gid: u32,
    home: OsString,
    shell: OsString,
}

/// A group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KnownGroup {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
    /// The accounts that are listed as its members. Those of which it is the primary group are not.
    pub members: Vec<String>,
}

/// The account with exactly this name.
///
/// # Errors
/// A sentence if there is no answer in time.
pub fn find_by_name(name: &str) -> Result<Option<Account>, Silence> {
    find("passwd", name, || Account::by_name(name))
}

/// The account with this number.
///
/// # Errors
/// A sentence if there is no answer in time.
pub fn find_by_uid(uid: Uid) -> Result<Option<Account>, Silence> {
    find("passwd", &format!("uid {uid}"), || Account::by_uid(uid))
}

/// The account of this process.
///
/// # Errors
/// A sentence if there is no answer in time.
pub fn find_own() -> Result<Option<Account>, Silence> {
    find_by_uid(getuid())
}

fn find(
    database: &str,
    whom: &str,
    look: impl FnOnce() -> Option<Account>,
) -> Result<Option<Account>, Silence> {
    let found = ask(database, whom, || {
        look().map(|Account { name, uid, gid, home, shell }| {
            let (uid, gid) = (uid.as_raw(), gid.as_raw());
            Entry { name, uid, gid, home: home.into(), shell: shell.into() }
        })
    })?;
    Ok(found.map(|Entry { name, uid, gid, home, shell }| {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        Account { name, uid, gid, home: home.into(), shell: shell.into() }
    }))
}

/// The group with this name.
///
/// # Errors
/// A sentence if there is no answer in time.
pub fn find_group(name: &str) -> Result<Option<KnownGroup>, Silence> {
    ask("group", name, || Group::from_name(name).ok().flatten().map(KnownGroup::from))
}

/// The group with this number.
///
/// # Errors
/// A sentence if there is no answer in time.
pub fn find_group_by_gid(gid: Gid) -> Result<Option<KnownGroup>, Silence> {
    ask("group", &format!("gid {gid}"), || {
        Group::from_gid(gid).ok().flatten().map(KnownGroup::from)
    })
}

/// All groups of an account, with their names if they have one. Every service is asked for them, even for an account of
/// this machine. So after the first silence nobody's are asked for.
///
/// # Errors
/// A sentence if there is no answer in time.
pub fn list_groups(account: &Account) -> Result<Vec<(Gid, Option<String>)>, Silence> {
    static SILENCE: OnceLock<Silence> = OnceLock::new();
    if let Some(silence) = SILENCE.get() {
        let name = &account.name;
        return Err(Silence(format!("the groups of {name} were not asked for: {silence}")));
    }
    let name_of = |gid: Gid| Group::from_gid(gid).ok().flatten().map(|group| group.name);
    let listed: Result<Vec<(u32, Option<String>)>, _> =
        ask("group", &format!("the groups of {}", account.name), || {
            let gids = account.list_groups(account.gid).unwrap_or_default();
            gids.into_iter().map(|gid| (gid.as_raw(), name_of(gid))).collect()
        });
    let listed = listed.inspect_err(|silence| drop(SILENCE.set(silence.clone())))?;
    Ok(listed.into_iter().map(|(gid, name)| (Gid::from_raw(gid), name)).collect())
}

/// An account database that does not answer keeps servers from starting, too.
pub fn say_silent(area: Area, silence: &Silence, database: &str) -> Finding {
    let code = "unanswered";
    Finding::problem(area, code, silence.to_string(), restart_directories(database))
}

fn ask<T: Serialize + DeserializeOwned>(
    database: &str,
    whom: &str,
    look: impl FnOnce() -> T,
) -> Result<T, Silence> {
    /// Whether a question was not answered. What this machine knows by itself is still answered at once.
    static WAS_SILENT: AtomicBool = AtomicBool::new(false);
    let limit = if WAS_SILENT.load(Ordering::Relaxed) { SHORT_LIMIT } else { LIMIT };
    let who = format!("the account database, asked for {whom},");
    look_apart(&who, limit, || Some(look())).map_err(|Silence(sentence)| {
        WAS_SILENT.store(true, Ordering::Relaxed);
        let asks = name_directories(database).map(|named| format!("; it asks {named}"));
        Silence(sentence + &asks.unwrap_or_default())
    })
}

impl From<Group> for KnownGroup {
    fn from(group: Group) -> Self {
        Self { name: group.name, gid: group.gid.as_raw(), members: group.mem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_process_finds_is_what_the_account_database_has() {
        let root = find_by_name("root").unwrap().unwrap();
        assert_eq!((root.uid.as_raw(), &root), (0, &Account::by_name("root").unwrap()));
        assert_eq!(find_by_uid(root.uid).unwrap(), Some(root.clone()));
        assert_eq!(find_by_name("no-such-account").unwrap(), None);
        assert_eq!(find_group("root").unwrap().unwrap().gid, 0);
        assert_eq!(find_group_by_gid(root.gid).unwrap().unwrap().name, "root");
        assert!(list_groups(&root).unwrap().contains(&(root.gid, Some("root".to_owned()))));
    }
}
