//! `sudospawner sudoers` prints rules for sudo that let a Hub call this program, and nothing else.

use std::path::{Path, PathBuf};

use nix::unistd::{Group, Uid};

use super::quoting::quote;
use super::sudoers_name::Dialect;
use root::account::{Account, parse_id};

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
    /// The text of the rules.
    ///
    /// # Errors
    /// A sentence that quotes what cannot be written, or may not be there.
    pub fn render(&self) -> Result<String, String> {
        check_path(&self.program)?;
        self.check_accounts()?;
        let program = self.program.display();
        let Self { hub_user, dialect, .. } = self;
        let (run_as, explanation) = match &self.whom {
            Whom::Group(group) => {
                (dialect.spell("%", group)?, format!("as the members of the group {group}"))
            }
            Whom::Users(users) => {
                let spelt = users.iter().map(|user| dialect.spell("", user));
                (spelt.collect::<Result<Vec<_>, _>>()?.join(", "), "as these accounts".to_owned())
            }
            Whom::Root => (
                "root".to_owned(),
                "as root (\"root mode\"): /etc/sudospawner/policy.toml says for whom".to_owned(),
            ),
        };
        let settings = match dialect {
            Dialect::Sudo => format!(
                "\
# A request carries the server's API token on standard input: sudo does not record it.
Defaults!{program} !log_input

# The Hub is a service and has no terminal.
Defaults!{program} !requiretty
"
            ),
            Dialect::SudoRs | Dialect::EarlySudoRs => {
                "# This machine has sudo-rs, which records no input and asks for no terminal.\n"
                    .to_owned()
            }
        };
        Ok(format!(
            "\
# Lets {hub_user}, the account of the Hub, call sudospawner {explanation}.
# Written by `{words}`. Install it with
#
#     {program} {words} >{PLACE}.new
#     visudo -cf {PLACE}.new
#     install -m 0440 {PLACE}.new {PLACE}
#     rm {PLACE}.new

{settings}
{hub} ALL=({run_as}) NOPASSWD: {program}
",
            hub = dialect.spell("", hub_user)?,
            words = self.words(),
        ))
    }

    /// Root has no server, and is no Hub. The Hub has no server of its own.
    fn check_accounts(&self) -> Result<(), String> {
        refuse_root(&self.hub_user, "the Hub's account")?;
        let Whom::Users(users) = &self.whom else { return Ok(()) };
        let hub = find(&self.hub_user).map(|account| account.uid);
        users.iter().try_for_each(|user| {
            refuse_root(user, "an account with a server")?;
            let is_hub = hub.is_some() && find(user).map(|account| account.uid) == hub;
            if is_hub || *user == self.hub_user {
                return Err(format!("{user:?} is the Hub's own account"));
            }
            Ok(())
        })
    }

    /// The names that the account database does not know, or does not answer for.
    #[must_use]
    pub fn list_unknown(&self) -> Vec<&str> {
        let is_unknown = |name: &&str| find(name).is_none();
        let is_group = |name: &str| !matches!(Group::from_name(name), Ok(None) | Err(_));
        let unknown = [self.hub_user.as_str()].into_iter().filter(is_unknown);
        match &self.whom {
            Whom::Root => unknown.collect(),
            Whom::Users(users) => {
                unknown.chain(users.iter().map(String::as_str).filter(is_unknown)).collect()
            }
            Whom::Group(group) => {
                let is_number = group.starts_with('#');
                let group = Some(group.as_str()).filter(|name| !is_number && !is_group(name));
                unknown.chain(group).collect()
            }
        }
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

    /// The words of our command line, for a shell: also in a comment, from which a person may copy them.
    fn words(&self) -> String {
        let whom = match &self.whom {
            Whom::Group(group) => format!("--group {}", quote(group)),
            Whom::Users(users) => format!("--users {}", quote(users.join(","))),
            Whom::Root => "--mode root".to_owned(),
        };
        format!("sudoers --hub-user {} {whom}", quote(&self.hub_user))
    }
}

/// The account with this name, or with the number after `#`.
fn find(name: &str) -> Option<Account> {
    match name.strip_prefix('#').and_then(parse_id) {
        Some(uid) => Account::by_uid(Uid::from_raw(uid)),
        None => Account::by_name(name),
    }
}

fn refuse_root(name: &str, role: &str) -> Result<(), String> {
    match find(name) {
        Some(account) if account.uid.is_root() => {
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
            let expected = format!("rhea ALL={rule} NOPASSWD: /opt/jupyterhub/bin/sudospawner");
            let rules = fragment(whom).render().unwrap();
            assert_eq!(rules.lines().last(), Some(expected.as_str()));
        }
    }

    #[test]
    fn settings_that_sudo_rs_does_not_know_are_written_for_sudo_alone() {
        let rules = fragment(Whom::Root);
        assert_eq!(rules.render().unwrap().matches("\nDefaults!/opt/").count(), 2);
        let rules = Fragment { dialect: Dialect::SudoRs, ..rules };
        assert!(!rules.render().unwrap().contains("Defaults"));
    }

    #[test]
    fn names_of_directories_are_quoted_for_sudo_and_for_the_shell() {
        let whom = Whom::Users(vec!["jdoe@ad.example".to_owned(), "d'Arc $(id)".to_owned()]);
        let rules = Fragment { hub_user: "AD\\hub".to_owned(), ..fragment(whom) };
        let text = rules.render().unwrap();
        let rule = r#""AD\hub" ALL=("jdoe@ad.example", "d'Arc $(id)") NOPASSWD: "#;
        assert!(text.lines().last().unwrap().starts_with(rule), "{text}");
        let words = r"sudoers --hub-user 'AD\hub' --users 'jdoe@ad.example,d'\''Arc $(id)' >";
        assert!(text.contains(words) && rules.install_command().contains(words), "{text}");
        let group = fragment(Whom::Group("#30001".to_owned())).render().unwrap();
        assert!(group.contains("--group '#30001' >") && group.contains("(%#30001)"), "{group}");
    }

    #[test]
    fn a_name_that_nobody_has_is_known_to_be_so() {
        let ours = |whom| Fragment { hub_user: "nobody".to_owned(), ..fragment(whom) };
        assert!(ours(Whom::Root).list_unknown().is_empty());
        assert!(ours(Whom::Group("#30001".to_owned())).list_unknown().is_empty());
        assert!(ours(Whom::Group("root".to_owned())).list_unknown().is_empty());
        assert_eq!(ours(Whom::Group("ALL".to_owned())).list_unknown(), ["ALL"]);
        let users = Whom::Users(vec!["daemon".to_owned(), "ALL".to_owned()]);
        assert_eq!(ours(users).list_unknown(), ["ALL"]);
    }

    #[test]
    fn a_line_that_a_name_would_begin_is_never_written() {
        let hostile = "zoe\nzoe ALL=(ALL) NOPASSWD: ALL".to_owned();
        for whom in [Whom::Group(hostile.clone()), Whom::Users(vec![hostile.clone()])] {
            assert!(fragment(whom).render().unwrap_err().starts_with("\"zoe\\nzoe ALL"));
        }
        assert!(Fragment { hub_user: hostile, ..fragment(Whom::Root) }.render().is_err());
        assert!(fragment(Whom::Users(vec![String::new()])).render().is_err());
    }

    #[test]
    fn root_and_the_hub_itself_have_no_servers() {
        for user in ["root", "#0", "rhea"] {
            assert!(fragment(Whom::Users(vec![user.to_owned()])).render().is_err(), "{user}");
        }
        for hub_user in ["root", "#0"].map(str::to_owned) {
            assert!(Fragment { hub_user, ..fragment(Whom::Root) }.render().is_err());
        }
        // nobody, whose uid is the same everywhere.
        let own = fragment(Whom::Users(vec!["#65534".to_owned()]));
        assert!(Fragment { hub_user: "nobody".to_owned(), ..own }.render().is_err());
    }

    #[test]
    fn a_path_that_sudo_would_take_for_a_pattern_is_refused() {
        for path in ["/opt/a b/sudospawner", "/opt/*/sudospawner", "sudospawner", "/opt/a,b"] {
            assert!(check_path(Path::new(path)).is_err(), "{path}");
        }
    }
}
