//! Names of accounts and groups as sudoers(5) has them.
//!
//! A name that sudo could take for something else stands in double quotes. In these, sudo and sudo-rs take every
//! character as it is, except those that are refused here. sudo-rs is no help with a name that it cannot read: its
//! visudo accepts `"a*b"`, and its sudo then takes it for `a`.

use ground::escape::{Lines, escape_control_characters};
use root::account::{is_name, parse_id};

/// The sudo that rules are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The one from sudo.ws.
    Sudo,
    /// sudo-rs, which records nothing, never asks for a terminal, and warns of any setting about these.
    SudoRs,
    /// sudo-rs before version 0.2.9: what every version reads.
    EarlySudoRs,
}

/// What begins a line of another kind, if it stands at the beginning of a rule.
const DIRECTIVES: [&str; 6] =
    ["Defaults", "User_Alias", "Runas_Alias", "Host_Alias", "Cmnd_Alias", "Cmd_Alias"];
/// What means something where a name may stand, besides aliases.
const WORDS: [&str; 6] = ["list", "sudoedit", "sha224", "sha256", "sha384", "sha512"];

/// The longest name that sudo-rs reads, in bytes.
const LONGEST: usize = 255;

impl Dialect {
    /// The dialect of a sudo that says this of its version.
    pub fn of_version(said: &str) -> Self {
        if !said.starts_with("sudo-rs") {
            return Self::Sudo;
        }
        let numbers =
            said.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u32>().ok());
        if numbers.lt([0, 2, 9]) { Self::EarlySudoRs } else { Self::SudoRs }
    }

    /// Why a name cannot be written.
    fn find_obstacle(self, name: &str) -> Option<&'static str> {
        let shown = escape_control_characters(name.as_bytes(), Lines::One);
        if !is_name(name) || shown != name || name.len() > LONGEST {
            return Some("it is not the name of an account or a group");
        }
        if name.contains('"') || name.ends_with('\\') {
            return Some("quotes cannot hold a double quote, or a backslash at the end");
        }
        if self != Self::Sudo && !is_read_by_sudo_rs(name) {
            return Some("sudo-rs does not read it");
        }
        let is_early = |c: char| c.is_ascii_alphanumeric() || "._-\\=!()".contains(c);
        let is_read_early = name.chars().all(is_early) && !name.starts_with('_');
        if self == Self::EarlySudoRs && (!is_read_early || DIRECTIVES.contains(&name)) {
            return Some("not every sudo-rs before version 0.2.9 reads it");
        }
        None
    }

    /// A name as it stands in sudoers, or a number after `#`. The prefix `%` is for a group.
    ///
    /// # Errors
    /// A sentence that says why it cannot stand there, and what can.
    pub fn spell(self, prefix: &str, name: &str) -> Result<String, String> {
        if name.strip_prefix('#').and_then(parse_id).is_some() {
            return Ok(format!("{prefix}{name}"));
        }
        if let Some(obstacle) = self.find_obstacle(name) {
            return Err(format!(
                "{name:?} cannot stand in sudoers: {obstacle}; give its number in its place, as in '#1000', or \
                 name another group"
            ));
        }
        let is_quoted = is_alias(name) || !is_plain(name) || WORDS.contains(&name);
        let quote = if is_quoted || DIRECTIVES.contains(&name) { "\"" } else { "" };
        Ok(format!("{quote}{prefix}{name}{quote}"))
    }
}

fn is_read_by_sudo_rs(name: &str) -> bool {
    let is_read = |c: char| c.is_alphanumeric() || "._-@\\=!() ".contains(c);
    !name.starts_with('@') && name.strip_suffix('$').unwrap_or(name).chars().all(is_read)
}

/// Whether sudo takes each character as it is.
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Whether sudo takes a name for that of an alias, or for `ALL`.
fn is_alias(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use Dialect::{EarlySudoRs, Sudo, SudoRs};

    const ALL: [Dialect; 3] = [Sudo, SudoRs, EarlySudoRs];

    #[test]
    fn a_version_is_a_dialect() {
        for (said, dialect) in [
            ("Sudo version 1.9.16p2", Sudo),
            ("sudo-rs 0.2.5", EarlySudoRs),
            ("sudo-rs 0.2.8-1ubuntu5", EarlySudoRs),
            ("sudo-rs", EarlySudoRs),
            ("sudo-rs 0.2.9", SudoRs),
            ("sudo-rs 0.2.15", SudoRs),
            ("sudo-rs 1.0.0", SudoRs),
        ] {
            assert_eq!(Dialect::of_version(said), dialect, "{said}");
        }
    }

    #[test]
    fn an_ordinary_name_stands_as_it_is() {
        for name in
            ["zoe", "z", "Zoe", "zoe.washburne", "zoe-2", "systemd-network", "20150123", "#1000"]
        {
            for dialect in ALL {
                assert_eq!(dialect.spell("", name).as_deref(), Ok(name));
                assert_eq!(dialect.spell("%", name), Ok(format!("%{name}")));
            }
        }
        assert_eq!(Sudo.spell("", "_apt").as_deref(), Ok("_apt"));
    }

    #[test]
    fn a_name_that_sudo_would_read_as_something_else_is_quoted() {
        for name in [
            "ALL",
            "ZOE",
            "WEB_USERS",
            "A1",
            "sudoedit",
            "list",
            "AD\\jdoe",
            "zoe=x",
            "!zoe",
            "(zoe)",
        ] {
            for dialect in ALL {
                assert_eq!(dialect.spell("", name), Ok(format!("\"{name}\"")));
                assert_eq!(dialect.spell("%", name), Ok(format!("\"%{name}\"")));
            }
        }
        for name in
            ["jdoe@ad.example", "domain users", "pöttering", "ÖH", "zoe$", "Defaults", "User_Alias"]
        {
            for dialect in [Sudo, SudoRs] {
                assert_eq!(dialect.spell("", name), Ok(format!("\"{name}\"")));
            }
            assert!(EarlySudoRs.spell("", name).is_err(), "{name:?}");
        }
        for name in [
            "zo*", "z?e", "[z]oe", "o'brien", "a#b", "a>b", "$(id)", "`id`", "a;b", "~zoe", "@zoe",
            "e\u{301}",
        ] {
            assert_eq!(Sudo.spell("", name), Ok(format!("\"{name}\"")));
            for dialect in [SudoRs, EarlySudoRs] {
                let error = dialect.spell("", name).unwrap_err();
                assert!(error.contains("sudo-rs") && error.contains("'#1000'"), "{error}");
            }
        }
        assert!(EarlySudoRs.spell("", "_apt").is_err());
    }

    #[test]
    fn what_no_quotes_hold_and_what_is_no_name_is_refused() {
        for name in [
            "",
            "%wheel",
            "+netgroup",
            "#",
            "#x",
            "#-1",
            "#4294967295",
            "# 1",
            "-zoe",
            " zoe",
            "zoe ",
            "zoe,root",
            "zoe:root",
            "a/b",
            "zoe\nroot ALL=(ALL) ALL",
            "zoe\0",
            "zoe\t",
            "zoe\r",
            "zo\u{a0}e",
            "zo\u{2028}e",
            "zo\u{202e}e",
            "zo\"e",
            "\"zoe\"",
            "zoe\\",
            "\\",
        ] {
            for dialect in ALL {
                assert!(dialect.spell("", name).is_err(), "{name:?}");
                assert!(dialect.spell("%", name).is_err(), "{name:?}");
            }
        }
        assert!(Sudo.spell("", &"z".repeat(255)).is_ok());
        assert!(Sudo.spell("", &"z".repeat(256)).is_err());
    }
}
