//! The names of units and slices.
//!
//! An account's name is escaped as systemd.unit(5) does under "string escaping". The result has no `-`. So
//! the template's `-` separates user and server, and no two servers share a unit.

use crate::denial::Denial;
use crate::server_name::{ServerName, escaping::escape_name};

/// The maximum length of a unit's name in bytes, with its suffix.
pub const MAX_UNIT_NAME: usize = 255;

/// The name of a service, with its suffix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitName(String);

impl UnitName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How units are named: text, the user, text, the server, text.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct UnitTemplate {
    prefix: String,
    separator: String,
    suffix: String,
}

impl Default for UnitTemplate {
    fn default() -> Self {
        let [prefix, separator, suffix] = ["jupyter-", "-", ""].map(str::to_owned);
        Self { prefix, separator, suffix }
    }
}

impl TryFrom<String> for UnitTemplate {
    type Error = &'static str;

    /// SystemdSpawner's templates have no `{server}`; they allow one server per user.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let text = text.strip_suffix(".service").unwrap_or(&text).replace("{USERNAME}", "{user}");
        let parts = text.split_once("{user}").map(|(prefix, rest)| {
            let (separator, suffix) = rest.split_once("{server}").unwrap_or((rest, ""));
            let separator = separator.to_owned() + if rest.contains("{server}") { "" } else { "-" };
            [prefix.to_owned(), separator, suffix.to_owned()]
        });
        let is_whole = |[prefix, separator, suffix]: &[String; 3]| {
            let is_text = [prefix, separator, suffix].iter().all(|part| is_unit_text(part));
            let tells_apart = prefix.contains('-') && separator.contains('-');
            is_text && tells_apart && !prefix.starts_with(['-', '.'])
        };
        let parts = parts.filter(is_whole);
        parts.map(|[prefix, separator, suffix]| Self { prefix, separator, suffix }).ok_or(
            "a unit name has to begin with text that has a \"-\", then {user}, text with a \"-\", \
             and {server}, as in \"jupyter-{user}-{server}\"",
        )
    }
}

impl UnitTemplate {
    /// The unit of one of a user's servers. No two servers have the same unit.
    ///
    /// # Errors
    /// [`Denial::ServerNameTooLong`].
    pub fn name_unit(&self, user: &str, server: &ServerName) -> Result<UnitName, Denial> {
        let separator = if server.as_str().is_empty() {
            self.separator.strip_suffix('-').unwrap_or(&self.separator)
        } else {
            &self.separator
        };
        let (user, server) = (escape_name(user), server.escape());
        let name = [&self.prefix, &user, separator, &server, &self.suffix, ".service"].concat();
        if name.len() > MAX_UNIT_NAME {
            return Err(Denial::ServerNameTooLong);
        }
        Ok(UnitName(name))
    }
}

/// The name of a slice, with its suffix. It is never the root slice, which is above all units.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct SliceName(String);

impl Default for SliceName {
    fn default() -> Self {
        Self("jupyterhub.slice".to_owned())
    }
}

impl TryFrom<String> for SliceName {
    type Error = &'static str;

    /// Accepts the name as systemd-run(1) does, with or without the suffix.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let stem = text.strip_suffix(".slice").unwrap_or(&text);
        let name = Self(format!("{stem}.slice"));
        let is_path = stem.split('-').all(|part| !part.is_empty() && is_unit_text(part));
        let is_slice = is_path && name.0.len() <= MAX_UNIT_NAME;
        if is_slice { Ok(name) } else { Err("this is no slice's name, as in \"jupyterhub.slice\"") }
    }
}

impl SliceName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this slice is the other one or below it: `jhub-node08.slice` is below `jhub.slice`
    /// (systemd.slice(5)).
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let stem = other.0.strip_suffix("slice").unwrap_or_default();
        let above = stem.strip_suffix('.').unwrap_or_default();
        self == other || self.0.strip_prefix(above).is_some_and(|rest| rest.starts_with('-'))
    }
}

/// Whether systemd.unit(5) permits these characters in a unit's name; the `@` of templates is excluded.
pub fn is_unit_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte))
}

/// Whether a property of a unit, by name and value, keeps its first process from what a process with all capabilities
/// has open: ptrace(2), "Ptrace access mode checking".
#[must_use]
pub fn excludes_ptrace((name, value): &(String, String)) -> bool {
    let is_excluded = value.contains("CAP_SYS_PTRACE") == value.starts_with('~');
    name == "CapabilityBoundingSet" && !value.is_empty() && is_excluded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(template: &str, user: &str, server: &str) -> String {
        let template = UnitTemplate::try_from(template.to_owned()).unwrap();
        let server = ServerName::parse(server.to_owned()).unwrap();
        template.name_unit(user, &server).unwrap().as_str().to_owned()
    }

    #[test]
    fn a_unit_is_named_after_user_and_server_and_the_default_server_after_its_user_alone() {
        for (user, server, unit) in [
            ("zoe", "", "jupyter-zoe.service"),
            ("zoe", "gpu", "jupyter-zoe-gpu.service"),
            ("zoe-gpu", "", "jupyter-zoe\\x2dgpu.service"),
            ("zoe", "a/b", "jupyter-zoe-a-b.service"),
            (".zoe", "ü", "jupyter-\\x2ezoe-\\xc3\\xbc.service"),
        ] {
            assert_eq!(name("jupyter-{user}-{server}", user, server), unit);
        }
    }

    #[test]
    fn a_template_of_systemdspawner_means_what_it_meant_and_has_room_for_named_servers() {
        let template = "jupyter-{USERNAME}-singleuser";
        assert_eq!(name(template, "zoe", ""), "jupyter-zoe-singleuser.service");
        assert_eq!(name(template, "zoe", "gpu"), "jupyter-zoe-singleuser-gpu.service");
        assert_eq!(name("jsu-{USERNAME}.service", "zoe", ""), "jsu-zoe.service");
    }

    #[test]
    fn a_template_that_could_name_two_servers_the_same_is_refused() {
        for wrong in [
            "",
            "jupyter",
            "jupyter-{server}",
            "jupyter-{user}{server}",
            "jupyter-{user}_{server}",
            "jupyter-{server}-{user}",
            "jupyter-{user}-{user}-{server}",
            "{user}-{server}",
            "jupyter{user}-{server}",
            "jupyter-{user}@{server}",
            "jupyter-{USERID}-{server}",
            "-{user}-{server}",
            "jup yter-{user}-{server}",
            "../-{user}-{server}",
        ] {
            assert!(UnitTemplate::try_from(wrong.to_owned()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_name_that_is_no_unit_name_any_more_is_refused() {
        let server = ServerName::parse("s".repeat(200)).unwrap();
        let template = UnitTemplate::default();
        assert!(template.name_unit(&"z".repeat(38), &server).is_ok());
        let error = template.name_unit(&"z".repeat(39), &server).unwrap_err();
        assert_eq!(error.classify().0, "server_name_too_long");
    }

    #[test]
    fn a_slice_is_below_another_only_by_its_dashes() {
        let slice = |name: &str| SliceName::try_from(name.to_owned()).unwrap();
        assert_eq!(slice("jhub-node08").as_str(), "jhub-node08.slice");
        for within in ["jhub", "jhub.slice", "jhub-node08.slice", "jhub-a-b"] {
            assert!(slice(within).is_within(&slice("jhub")), "{within}");
        }
        for outside in ["system", "jhubx", "jhub.x", "x-jhub", "jhu"] {
            assert!(!slice(outside).is_within(&slice("jhub")), "{outside}");
        }
        assert!(!slice("jhub").is_within(&slice("jhub-node08")));
        for wrong in ["", "-", "-.slice", "a--b", "-a", "a-", "a/b", "a b", "*", "a@b", ".slice"] {
            assert!(SliceName::try_from(wrong.to_owned()).is_err(), "{wrong:?}");
        }
    }
}
