//! Executes the command with its arguments, the container's variables and the directory.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{chdir, execvpe};

use crate::failure::Failure;
use crate::ids::Ids;
use ground::system_calls;
use root::account::Account;
use root::privileges::Unprivileged;

/// A command that is ready to be executed.
#[derive(Debug)]
pub struct Execution {
    argv: Vec<CString>,
    variables: Vec<CString>,
    directory: Option<PathBuf>,
}

impl Execution {
    /// Prepares the execution in a process that has given up root.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a word that cannot be passed to a program.
    pub fn prepare(command: &[OsString], proof: &Unprivileged<Ids>) -> Result<Self, Failure> {
        let to_words = |words: Vec<Vec<u8>>| {
            let words: Result<_, _> = words.into_iter().map(CString::new).collect();
            words.map_err(|_| Failure::Usage("a word has a NUL byte".to_owned()))
        };
        let variables =
            list_variables(std::env::vars_os().collect(), proof.target().account.as_ref());
        Ok(Self {
            argv: to_words(command.iter().map(|word| word.as_bytes().to_owned()).collect())?,
            variables: to_words(variables)?,
            directory: std::env::current_dir().ok(),
        })
    }

    /// Becomes the command, found on PATH, with signals reset. Returns only on failure.
    pub fn execute(&self) -> Failure {
        // Enters the directory by path again: a hook may have mounted something over it.
        if let Some(directory) = &self.directory {
            let _ = chdir(directory);
        }
        system_calls::reset_signals();
        let Some(program) = self.argv.first() else {
            return Failure::Usage("there is no command".to_owned());
        };
        let errno = execvpe(program, &self.argv, &self.variables).err().unwrap_or(Errno::ENOEXEC);
        Failure::NotExecuted { command: program.to_string_lossy().into_owned(), errno }
    }
}

/// The container's variables as `NAME=value`. An account replaces those that name it; without a shell of its
/// own it keeps the container's `SHELL`.
fn list_variables(inherited: Vec<(OsString, OsString)>, account: Option<&Account>) -> Vec<Vec<u8>> {
    let mut own: Vec<(OsString, OsString)> = Vec::new();
    if let Some(account) = account {
        own.push(("HOME".into(), account.home.clone().into()));
        own.push(("USER".into(), account.name.clone().into()));
        own.push(("LOGNAME".into(), account.name.clone().into()));
        if !account.is_closed() && !account.shell.as_os_str().is_empty() {
            own.push(("SHELL".into(), account.shell.clone().into()));
        }
    }
    let is_own = |name: &OsString| own.iter().any(|(own, _)| own == name);
    let kept: Vec<_> = inherited.into_iter().filter(|(name, _)| !is_own(name)).collect();
    kept.into_iter()
        .chain(own)
        .map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::{Gid, Uid};

    fn list(account: Option<&Account>) -> Vec<String> {
        let inherited = [("PATH", "/bin"), ("HOME", "/root"), ("SHELL", "/bin/sh"), ("A", "b=c")];
        let inherited = inherited.map(|(name, value)| (name.into(), value.into())).to_vec();
        let listed = list_variables(inherited, account);
        listed.into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
    }

    fn wash(shell: &str) -> Account {
        Account {
            name: "wash".to_owned(),
            uid: Uid::from_raw(1002),
            gid: Gid::from_raw(1002),
            home: "/home/wash".into(),
            shell: shell.into(),
        }
    }

    #[test]
    fn without_an_account_every_variable_stays_as_it_is() {
        assert_eq!(list(None), ["PATH=/bin", "HOME=/root", "SHELL=/bin/sh", "A=b=c"]);
    }

    #[test]
    fn an_account_replaces_what_names_it_and_nothing_else() {
        let expected = [
            "PATH=/bin",
            "A=b=c",
            "HOME=/home/wash",
            "USER=wash",
            "LOGNAME=wash",
            "SHELL=/bin/zsh",
        ];
        assert_eq!(list(Some(&wash("/bin/zsh"))), expected);
    }

    #[test]
    fn a_shell_that_lets_nobody_in_is_not_the_one_of_a_terminal() {
        for shell in ["/usr/sbin/nologin", "/bin/false", ""] {
            let listed = list(Some(&wash(shell)));
            assert!(listed.contains(&"SHELL=/bin/sh".to_owned()), "{listed:?}");
            assert!(listed.contains(&"HOME=/home/wash".to_owned()), "{listed:?}");
        }
    }
}
