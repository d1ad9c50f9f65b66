//! What this program is started with, in the form of a command line: `sudospawner-session SERVICE LAUNCHER USER
//! GROUPS REPORTS OTHER…`. The last ones are descriptors. `root::session` knows what the others are.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use ground::system_calls::adopt_descriptor;

/// How many words that are passed on stand before the descriptors.
const BEFORE: usize = 3;

/// What a session is opened for.
#[derive(Debug)]
pub struct Order {
    /// The service of PAM's.
    pub service: CString,
    /// The account.
    pub user: CString,
    /// Takes reports for the mediator.
    pub reports: File,
    /// Whether the server runs in a unit or beside the Hub.
    pub place: Place,
    /// What is passed on.
    others: Vec<OwnedFd>,
    /// The words that are passed on.
    words: Vec<CString>,
}

/// Where the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Beside the Hub.
    Beside,
    /// In a unit, whose limits it has to stay in.
    Unit,
}

impl Order {
    /// Reads a command line without the program's name; `None` if it is another.
    pub fn read(words: impl Iterator<Item = OsString>) -> Option<Self> {
        let words = words.map(|word| CString::new(word.into_vec()).ok());
        let mut words = words.collect::<Option<Vec<_>>>()?.into_iter();
        let service = words.next()?;
        let words: Vec<CString> = words.collect();
        let [launcher, user, _, reports, others @ ..] = words.as_slice() else { return None };
        let place = match launcher.to_bytes() {
            b"Process" => Place::Beside,
            b"Systemd" => Place::Unit,
            _ => return None,
        };
        let adopt = |number: &CString| adopt_descriptor(number.to_str().ok()?.parse().ok()?);
        let reports = File::from(adopt(reports)?);
        let others = others.iter().map(adopt).collect::<Option<_>>()?;
        Some(Self { service, user: user.clone(), reports, place, others, words })
    }

    /// All descriptors, in the order of the words.
    pub fn list_descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let others = self.others.iter().map(AsFd::as_fd);
        [self.reports.as_fd()].into_iter().chain(others).collect()
    }

    /// The command line of the mediator in the session. The variables of the modules come before the other descriptors.
    pub fn pass_on(&self, name: &str, variables: &File) -> Vec<CString> {
        let added = [name.to_owned(), variables.as_raw_fd().to_string()];
        let [first, added] = added.map(|word| CString::new(word).unwrap_or_default());
        let (before, after) = self.words.split_at(self.words.len().min(BEFORE));
        let words = [first].into_iter().chain(before.iter().cloned()).chain([added]);
        words.chain(after.iter().cloned()).collect()
    }
}
