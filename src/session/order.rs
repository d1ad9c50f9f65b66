//! What this program is started with, in the form of a command line: `sudospawner-session SERVICE LAUNCHER USER
//! GROUPS REQUEST REPORTS DELIVERED`. The last three are descriptors.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;

use ground::system_calls::adopt_descriptor;

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
    /// What is passed on: the request, and how the mediator says that the server is delivered.
    others: [OwnedFd; 2],
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
        let [launcher, user, _, request, reports, delivered] = words.as_slice() else {
            return None;
        };
        let place = match launcher.to_bytes() {
            b"Process" => Place::Beside,
            b"Systemd" => Place::Unit,
            _ => return None,
        };
        let adopt = |number: &CString| adopt_descriptor(number.to_str().ok()?.parse().ok()?);
        let others = [adopt(request)?, adopt(delivered)?];
        let reports = File::from(adopt(reports)?);
        Some(Self { service, user: user.clone(), reports, place, others, words })
    }

    /// The numbers of all descriptors.
    pub fn list_descriptors(&self) -> [RawFd; 3] {
        let [request, delivered] = &self.others;
        [request.as_raw_fd(), self.reports.as_raw_fd(), delivered.as_raw_fd()]
    }

    /// The command line of the mediator in the session, and the descriptors that it keeps.
    pub fn pass_on(&self, name: &str, variables: &File) -> (Vec<CString>, [BorrowedFd<'_>; 3]) {
        let added = [name.to_owned(), variables.as_raw_fd().to_string()];
        let [first, last] = added.map(|word| CString::new(word).unwrap_or_default());
        let words = [first].into_iter().chain(self.words.iter().cloned()).chain([last]);
        let [request, delivered] = &self.others;
        (words.collect(), [request.as_fd(), self.reports.as_fd(), delivered.as_fd()])
    }
}
