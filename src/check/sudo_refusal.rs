//! Why sudo did not run something: what sudo and sudo-rs say, in their own words.

/// Why sudo refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// This process can gain no rights.
    NoNewPrivileges,
    /// sudo has no rights to give.
    NotSetuid,
    /// It wants a terminal.
    Terminal,
    /// It knows no such account.
    UnknownTarget,
    /// It finds no such file.
    MissingCommand,
    /// The account that it became cannot execute the file.
    NotExecutable,
    /// One of its files cannot be used.
    Broken(String),
    /// No rule lets the caller, or none without a password.
    NotPermitted,
    /// PAM does not let the caller's account.
    Account,
    /// Something else.
    Unknown,
}

/// Words by which a refusal is recognised; those of sudo stand first, then those of sudo-rs. The more
/// special ones come first, since with `-n` sudo says of everything that it does not permit that a
/// password is required.
const WORDS: [(Refusal, &[&str]); 8] = [
    (Refusal::NoNewPrivileges, &["\"no new privileges\" flag is set"]),
    (
        Refusal::NotSetuid,
        &["effective uid is not 0", "must be owned by uid 0 and have the setuid bit set"],
    ),
    (Refusal::Terminal, &["you must have a tty to run sudo"]),
    (Refusal::MissingCommand, &["command not found"]),
    (Refusal::NotExecutable, &["unable to execute", "cannot execute '", "': invalid command"]),
    (
        Refusal::Account,
        &[
            "account validation failure",
            "ccount expired",
            "PAM account management error",
            "PAM error",
            "PAM authentication error",
        ],
    ),
    (Refusal::UnknownTarget, &["unknown user", "' not found"]),
    (
        Refusal::NotPermitted,
        &[
            "a password is required",
            "is not in the sudoers file",
            "is not allowed to execute",
            "is not allowed to run",
            "may not run",
            "terminal is required to read the password",
            "interactive authentication is required",
            "I'm afraid I can't do that",
            "terminal is required to authenticate",
        ],
    ),
];

/// What follows the name of a file of rules whose owner or mode is wrong.
const DISTRUSTED: [&str; 7] = [
    " is world writable",
    " is group writable",
    " is owned by ",
    " cannot be world-writable",
    " cannot be group-writable",
    " must be owned by root",
    " should be owned by root",
];

/// What is said, after a colon, of a file of rules with a mistake in it.
const MISTAKEN: [&str; 6] =
    ["syntax error", "unknown defaults", "expected", "expecting", "parse error", "already defined"];

impl Refusal {
    /// Reads what sudo wrote to stderr.
    pub fn read(complaint: &str) -> Self {
        if let Some(file) = find_broken_file(complaint) {
            return Self::Broken(file);
        }
        let is_said = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
        let known = WORDS.iter().find(|(_, words)| is_said(words));
        known.map_or(Self::Unknown, |(refusal, _)| refusal.clone())
    }
}

/// The file of rules that sudo says is wrong, whether or not it then went on without it.
pub fn find_broken_file(complaint: &str) -> Option<String> {
    complaint.lines().find_map(|line| {
        let distrusted = DISTRUSTED.iter().find_map(|words| line.split_once(words));
        let file = match distrusted {
            Some((before, _)) => before.split(' ').next_back()?,
            None => {
                let (file, rest) = line.get(line.find('/')?..)?.split_once(':')?;
                MISTAKEN.iter().any(|words| rest.contains(words)).then_some(file)?
            }
        };
        (file.starts_with('/') && file.contains("sudoers")).then(|| file.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_and_sudo_rs_say_the_same_in_other_words() {
        for (complaint, refusal) in [
            ("sudo: a password is required", Refusal::NotPermitted),
            ("sudo: interactive authentication is required", Refusal::NotPermitted),
            (
                "Sorry, user rhea is not allowed to execute '/bin/true' as zoe on machine.",
                Refusal::NotPermitted,
            ),
            ("sudo: I'm sorry rhea. I'm afraid I can't do that", Refusal::NotPermitted),
            ("sudo: unknown user nemo\nsudo: error initializing", Refusal::UnknownTarget),
            ("sudo: user 'nemo' not found", Refusal::UnknownTarget),
            ("sudo: /opt/x: command not found", Refusal::MissingCommand),
            ("sudo: '/opt/x': command not found", Refusal::MissingCommand),
            ("sudo: unable to execute /opt/x: Permission denied", Refusal::NotExecutable),
            (
                "sudo: cannot execute '/opt/x': Permission denied (os error 13)",
                Refusal::NotExecutable,
            ),
            (
                "sudo: effective uid is not 0, is /usr/bin/sudo on a file system with the 'nosuid' \
                 option set or an NFS file system without root privileges?",
                Refusal::NotSetuid,
            ),
            ("sudo: sudo must be owned by uid 0 and have the setuid bit set", Refusal::NotSetuid),
            (
                "sudo: The \"no new privileges\" flag is set, which prevents sudo from running as root.",
                Refusal::NoNewPrivileges,
            ),
            ("sudo: sorry, you must have a tty to run sudo", Refusal::Terminal),
            ("sudo: PAM account management error: Account expired", Refusal::Account),
            ("Segmentation fault", Refusal::Unknown),
        ] {
            assert_eq!(Refusal::read(complaint), refusal, "{complaint}");
        }
    }

    #[test]
    fn a_file_that_sudo_cannot_use_is_named() {
        let file = |complaint: &str| find_broken_file(complaint);
        let expected = Some("/etc/sudoers.d/y".to_owned());
        assert_eq!(file("/etc/sudoers.d/y:2:8: syntax error\nfoo bar\n  ^"), expected);
        assert_eq!(file("sudo: /etc/sudoers.d/y is world writable\nsudo: a password"), expected);
        assert_eq!(file("sudo: /etc/sudoers.d/y is owned by uid 1001, should be 0"), expected);
        // sudo-rs 0.2.15
        assert_eq!(file("/etc/sudoers.d/y:1:8: expecting '=' but found"), expected);
        let other = "/etc/sudoers:54:2: /etc/sudoers.d/y cannot be world-writable";
        assert_eq!(file(other), expected);
        assert_eq!(file("/etc/sudoers.d/y:10:58: unknown setting: 'log_input'"), None);
        assert_eq!(file("sudo: /opt/x: command not found"), None);
    }
}
