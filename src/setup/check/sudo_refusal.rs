//! Why sudo did not run something, found in the words of sudo and sudo-rs.

/// Why sudo refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// This process can gain no privileges, or sudo has none to give.
    NoRights,
    /// sudo wants a terminal.
    Terminal,
    /// One of sudo's files cannot be used.
    Broken,
    /// No rule permits it, or none without a password.
    NotPermitted,
    /// PAM refuses the caller's account.
    Account,
    /// Something else.
    Unknown,
}

/// The words that identify a refusal, those of sudo first, then those of sudo-rs. More specific ones come
/// first: with `-n`, sudo says of everything that it does not permit that a password is required.
const WORDS: [(Refusal, &[&str]); 4] = [
    (
        Refusal::NoRights,
        &[
            "\"no new privileges\" flag is set",
            "effective uid is not 0",
            "must be owned by uid 0 and have the setuid bit set",
        ],
    ),
    (Refusal::Terminal, &["you must have a tty to run sudo"]),
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

/// What follows the name of a rules file with the wrong owner or mode.
const DISTRUSTED: [&str; 7] = [
    " is world writable",
    " is group writable",
    " is owned by ",
    " cannot be world-writable",
    " cannot be group-writable",
    " must be owned by root",
    " should be owned by root",
];

/// What follows, after a colon, the name of a rules file with a mistake.
const MISTAKEN: [&str; 6] =
    ["syntax error", "unknown defaults", "expected", "expecting", "parse error", "already defined"];

impl Refusal {
    /// Reads what sudo wrote to stderr.
    pub fn read(complaint: &str) -> Self {
        if find_broken_file(complaint).is_some() || find_unnamed_file(complaint).is_some() {
            return Self::Broken;
        }
        let is_said = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
        let known = WORDS.iter().find(|(_, words)| is_said(words));
        known.map_or(Self::Unknown, |(refusal, _)| *refusal)
    }
}

/// The rules file that sudo says is wrong, whether or not sudo then ignored it.
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

/// The line with which sudo distrusts a rules file that it does not name: sudo 1.9.16 leaves the name out.
pub fn find_unnamed_file(complaint: &str) -> Option<&str> {
    complaint.lines().find(|line| {
        let words = line.strip_prefix("sudo: ").unwrap_or_default();
        DISTRUSTED.iter().any(|distrust| words.starts_with(distrust))
    })
}

/// Whether this is one of sudo's usual rules files. No other is named in a command.
pub fn is_usual_file(file: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let name = file.strip_prefix("/etc/sudoers.d/");
    file == "/etc/sudoers"
        || name.is_some_and(|name| name.starts_with(is_alphanumeric) && name.chars().all(is_plain))
}

fn is_alphanumeric(c: char) -> bool {
    c.is_ascii_alphanumeric()
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
            (
                "sudo: effective uid is not 0, is /usr/bin/sudo on a file system with the 'nosuid' \
                 option set or an NFS file system without root privileges?",
                Refusal::NoRights,
            ),
            ("sudo: sudo must be owned by uid 0 and have the setuid bit set", Refusal::NoRights),
            (
                "sudo: The \"no new privileges\" flag is set, which prevents sudo from running as root.",
                Refusal::NoRights,
            ),
            ("sudo: sorry, you must have a tty to run sudo", Refusal::Terminal),
            ("sudo: PAM account management error: Account expired", Refusal::Account),
            ("/etc/sudoers.d/y:1:1: syntax error", Refusal::Broken),
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
        let unnamed = "sudo:  is world writable\nsudo: a password is required";
        assert_eq!((file(unnamed), Refusal::read(unnamed)), (None, Refusal::Broken));
        let other = "/etc/sudoers:54:2: /etc/sudoers.d/y cannot be world-writable";
        assert_eq!(file(other), expected);
        assert_eq!(file("/etc/sudoers.d/y:10:58: unknown setting: 'log_input'"), None);
        assert_eq!(file("sudo: /opt/x: command not found"), None);
    }

    #[test]
    fn a_file_anywhere_else_is_named_in_no_command() {
        for usual in ["/etc/sudoers", "/etc/sudoers.d/sudospawner", "/etc/sudoers.d/90-x_y"] {
            assert!(is_usual_file(usual), "{usual}");
        }
        for other in [
            "/etc/sudoers.d/../shadow",
            "/etc/sudoers.d/..",
            "/etc/sudoers.d/x/y",
            "/etc/sudoers.d/",
            "/etc/sudoers.d/x y",
            "/etc/sudoers.local",
            "/tmp/sudoers",
        ] {
            assert!(!is_usual_file(other), "{other}");
        }
    }
}
