//! `sudospawner sudoers` prints rules for sudo that let a Hub call this program, and nothing else.

use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use root::account::Account;

/// The file for the rules.
pub const PLACE: &str = "/etc/sudoers.d/sudospawner";

/// The accounts that the Hub may run this program as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// The members of a group.
    Group(String),
    /// These accounts.
    Users(Vec<String>),
    /// Root. The policy says for which accounts.
    Root,
}

/// The sudo that rules are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The one from sudo.ws.
    Sudo,
    /// sudo-rs, which records nothing, never asks for a terminal, and warns of any setting about these.
    SudoRs,
}

/// The rules of one Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// This program's real path.
    pub program: PathBuf,
    /// The account of the Hub.
    pub hub_user: String,
    /// The accounts that the Hub may run the program as.
    pub whom: Whom,
    /// The sudo that the rules are for.
    pub dialect: Dialect,
}

impl Fragment {
    /// Checks that sudoers(5) takes each name, and the path, literally.
    ///
    /// # Errors
    /// A sentence that quotes what cannot be written.
    pub fn check(&self) -> Result<(), String> {
        check_path(&self.program)?;
        check_name(&self.hub_user)?;
        refuse_root(&self.hub_user, "the Hub's account")?;
        match &self.whom {
            Whom::Group(group) => check_name(group),
            Whom::Users(users) if users.is_empty() => Err("--users needs a name".to_owned()),
            Whom::Users(users) => users.iter().try_for_each(|user| {
                check_name(user)?;
                refuse_root(user, "an account with a server")?;
                if *user == self.hub_user {
                    return Err(format!("{user:?} is the Hub's own account"));
                }
                Ok(())
            }),
            Whom::Root => Ok(()),
        }
    }

    /// The text of the rules.
    #[must_use]
    pub fn render(&self) -> String {
        let program = self.program.display();
        let Self { hub_user, .. } = self;
        let (run_as, explanation) = match &self.whom {
            Whom::Group(group) => {
                (format!("%{group}"), format!("as the members of the group {group}"))
            }
            Whom::Users(users) => (users.join(", "), "as these accounts".to_owned()),
            Whom::Root => (
                "root".to_owned(),
                "as root (\"root mode\"): /etc/sudospawner/policy.toml says for whom".to_owned(),
            ),
        };
        let settings = match self.dialect {
            Dialect::Sudo => format!(
                "\
# A request carries the server's API token on standard input: sudo does not record it.
Defaults!{program} !log_input

# The Hub is a service and has no terminal.
Defaults!{program} !requiretty
"
            ),
            Dialect::SudoRs => {
                "# This machine has sudo-rs, which records no input and asks for no terminal.\n"
                    .to_owned()
            }
        };
        format!(
            "\
# Lets {hub_user}, the account of the Hub, call sudospawner {explanation}.
# Written by `{words}`. Install it with
#
#     {program} {words} >{PLACE}.new
#     visudo -cf {PLACE}.new
#     install -m 0440 {PLACE}.new {PLACE}
#     rm {PLACE}.new

{settings}
{hub_user} ALL=({run_as}) NOPASSWD: {program}
",
            words = self.words(),
        )
    }

    /// The command that installs the rules, after visudo has checked them. sudo ignores the draft, because
    /// its name has a dot.
    #[must_use]
    pub fn install_command(&self) -> String {
        format!(
            "{program} {words} >{PLACE}.new && visudo -cf {PLACE}.new && \
             install -m 0440 {PLACE}.new {PLACE} && rm {PLACE}.new",
            program = self.program.display(),
            words = self.words(),
        )
    }

    fn words(&self) -> String {
        let whom = match &self.whom {
            Whom::Group(group) => format!("--group {group}"),
            Whom::Users(users) => format!("--users {}", users.join(",")),
            Whom::Root => "--mode root".to_owned(),
        };
        format!("sudoers --hub-user {} {whom}", self.hub_user)
    }
}

/// Accepts a name that sudoers(5) cannot take for anything else: an alias (only capitals), a group (`%`), a
/// netgroup (`+`), a number (`#`), a negation, a pattern, or two names.
fn check_name(name: &str) -> Result<(), String> {
    let mut letters = name.chars();
    let begins = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let goes_on = letters.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    let has_lower = name.chars().any(|c| c.is_ascii_lowercase());
    if begins && goes_on && has_lower && name.len() <= 64 {
        return Ok(());
    }
    Err(format!(
        "{name:?} cannot stand in sudoers as it is: a name has letters, digits, `_`, `.` and `-`, begins \
         with a letter or `_`, and is not all capitals, which is how aliases are written"
    ))
}

fn refuse_root(name: &str, role: &str) -> Result<(), String> {
    match Account::by_name(name) {
        Some(account) if account.uid == Uid::from_raw(0) => {
            Err(format!("{name:?} has uid 0 and cannot be {role}"))
        }
        _ => Ok(()),
    }
}

fn check_path(path: &Path) -> Result<(), String> {
    let text = path.to_str().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
    if path.is_absolute() && text.chars().all(is_plain) {
        return Ok(());
    }
    Err(format!(
        "the path {path:?} has characters that mean something in sudoers: install elsewhere"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(whom: Whom) -> Fragment {
        let program = PathBuf::from("/opt/jupyterhub/bin/sudospawner");
        Fragment { program, hub_user: "rhea".to_owned(), whom, dialect: Dialect::Sudo }
    }

    #[test]
    fn the_rule_names_hub_accounts_and_program() {
        for (whom, rule) in [
            (Whom::Group("jupyterhub".to_owned()), "(%jupyterhub)"),
            (Whom::Users(vec!["zoe".to_owned(), "wash".to_owned()]), "(zoe, wash)"),
            (Whom::Root, "(root)"),
        ] {
            let fragment = fragment(whom);
            fragment.check().unwrap();
            let expected = format!("rhea ALL={rule} NOPASSWD: /opt/jupyterhub/bin/sudospawner");
            assert_eq!(fragment.render().lines().last(), Some(expected.as_str()));
        }
    }

    #[test]
    fn settings_that_sudo_rs_does_not_know_are_written_for_sudo_alone() {
        let rules = fragment(Whom::Root);
        assert_eq!(rules.render().matches("\nDefaults!/opt/").count(), 2);
        let rules = Fragment { dialect: Dialect::SudoRs, ..rules };
        assert!(!rules.render().contains("Defaults"));
    }

    #[test]
    fn a_name_that_sudo_would_read_as_something_else_is_refused() {
        for name in [
            "",
            "ALL",
            "ZOE",
            "WEB_USERS",
            "%wheel",
            "+netgroup",
            "#0",
            "!zoe",
            "zo*",
            "z?e",
            "[z]oe",
            "zoe,root",
            "zoe root",
            "zoe\nroot",
            "-zoe",
            "1000",
            "zoe)",
            "zoe=x",
            "zo\\e",
            "\"zoe\"",
            "zoe@example.org",
            "zoë",
            "zoe#",
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
            assert!(fragment(Whom::Group(name.to_owned())).check().is_err(), "{name:?}");
        }
        for name in ["zoe", "z", "_apt", "Zoe", "zoe.washburne", "zoe-2", "systemd-network"] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn root_and_the_hub_itself_have_no_servers() {
        assert!(fragment(Whom::Users(vec!["root".to_owned()])).check().is_err());
        assert!(fragment(Whom::Users(vec!["rhea".to_owned()])).check().is_err());
        let hub = Fragment { hub_user: "root".to_owned(), ..fragment(Whom::Root) };
        assert!(hub.check().is_err());
    }

    #[test]
    fn a_path_that_sudo_would_take_for_a_pattern_is_refused() {
        for path in ["/opt/a b/sudospawner", "/opt/*/sudospawner", "sudospawner", "/opt/a,b"] {
            assert!(check_path(Path::new(path)).is_err(), "{path}");
        }
    }
}
