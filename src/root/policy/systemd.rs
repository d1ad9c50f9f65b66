//! `[systemd]`: the unit of a server.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::{self, Deserialize, Deserializer};

use super::units::read_path;
use ground::server_name::ServerName;
use ground::unit_name::{SliceName, UnitTemplate};

/// `[systemd]`. [`expand`] fills in `{user}` and `{server}` for each server.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Systemd {
    /// The slice of all servers.
    pub slice: SliceName,
    /// The names of their units.
    pub unit_name: UnitTemplate,
    /// The variable SHELL.
    #[serde(deserialize_with = "read_path")]
    pub default_shell: Option<PathBuf>,
    /// What is put in front of PATH.
    pub extra_paths: Vec<Directory>,
    /// Where a server starts, if not in the target's home.
    pub working_directory: Option<Directory>,
    /// Whether each server has its own /tmp.
    pub private_tmp: bool,
    /// Whether a server sees only devices such as /dev/null.
    pub private_devices: bool,
    /// What a server cannot write to.
    pub read_only_paths: Vec<MountPath>,
    /// Exceptions that a server can write to.
    pub read_write_paths: Vec<MountPath>,
    /// Whether jsd-helper may stop the slice.
    pub allow_slice_stop: bool,
    /// Further properties of systemd.directives(7) that root has chosen, set as they are.
    #[serde(deserialize_with = "read_properties")]
    pub properties: Vec<(String, String)>,
}

/// The path of a directory, with `{user}` and `{server}`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Directory(pub String);

impl TryFrom<String> for Directory {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_path = text.starts_with('/') && !text.contains([':', '\0']);
        if is_path && has_only_placeholders(&text) { Ok(Self(text)) } else { Err(WRONG_PATH) }
    }
}

/// A path for a mount, as in systemd.exec(5): with a leading `-` it need not exist.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct MountPath(pub String);

impl TryFrom<String> for MountPath {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_path = text.strip_prefix('-').unwrap_or(&text).starts_with('/');
        let is_path = is_path && !text.contains(char::is_control);
        if is_path && has_only_placeholders(&text) { Ok(Self(text)) } else { Err(WRONG_PATH) }
    }
}

const WRONG_PATH: &str =
    "a path has to be absolute, with {user} and {server} as the only words in braces";

/// The placeholders, and what SystemdSpawner calls them. The server's name is escaped, so that it is always
/// one part of a path.
const USER: [&str; 2] = ["{user}", "{USERNAME}"];
const SERVER: &str = "{server}";

fn has_only_placeholders(text: &str) -> bool {
    !expand(text, "", &ServerName::default()).contains(['{', '}'])
}

/// Replaces `{user}` and `{server}` with the names of target and server.
#[must_use]
pub fn expand(text: &str, user: &str, server: &ServerName) -> String {
    put_names(text, user, &server.escape())
}

/// The same for a value that systemd splits into words, treating a backslash as an escape: `\x2e.` would
/// become `..` there. What would end or quote a word, or stand for a variable, is escaped in the user's name, too.
#[must_use]
pub fn expand_words(text: &str, user: &str, server: &ServerName) -> String {
    let double = |name: &str| name.replace('\\', "\\\\");
    let user = user.replace(' ', "\\x20").replace('$', "\\x24");
    let user = user.replace('"', "\\x22").replace('\'', "\\x27");
    put_names(text, &double(&user), &double(&server.escape()))
}

fn put_names(text: &str, user: &str, server: &str) -> String {
    let text = text.replace(SERVER, server);
    USER.iter().fold(text, |text, word| text.replace(word, user))
}

/// Prefixes of properties that a server's unit cannot have, and why.
const REFUSED: [(&str, &str); 3] = [
    ("ExecStop", ENDED),
    ("ExecReload", ENDED),
    ("Restart", "what a server is started with is there once; the Hub starts it anew"),
];
const ENDED: &str = "what it would run has no stdin and stdout, since the process that gave the unit its own has ended";

/// Reads properties, each with one value or a list of values.
fn read_properties<'de, D: Deserializer<'de>>(table: D) -> Result<Vec<(String, String)>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Values {
        One(String),
        Many(Vec<String>),
    }
    let mut properties = Vec::new();
    for (name, values) in BTreeMap::<String, _>::deserialize(table)? {
        let values = match values {
            Values::One(value) => vec![value],
            Values::Many(values) => values,
        };
        let is_wrong = |value: &String| value.contains(char::is_control);
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) || values.iter().any(is_wrong) {
            return Err(de::Error::custom(format!("{name:?} cannot be a property of a unit")));
        }
        if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| name.starts_with(refused)) {
            return Err(de::Error::custom(format!("{name} cannot be set: {reason}")));
        }
        properties.extend(values.into_iter().map(|value| (name.clone(), value)));
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_where_the_policy_has_them_and_a_server_is_one_part_of_a_path() {
        let server = ServerName::parse("../x".to_owned()).unwrap();
        for (text, expanded) in [
            ("/data/{user}/{server}", "/data/zoe/\\x2e.-x"),
            ("-/data/{USERNAME}", "-/data/zoe"),
            ("{other}", "{other}"),
        ] {
            assert_eq!(expand(text, "zoe", &server), expanded);
        }
        // systemd processes the backslashes in these values.
        let words = expand_words("+/bin/rm /s/{user}/{server}", "ad\\zoe", &server);
        assert_eq!(words, "+/bin/rm /s/ad\\\\zoe/\\\\x2e.-x");
        let words = expand_words("/s/{user}", "a \"b' ${X}", &ServerName::default());
        assert_eq!(words, "/s/a\\\\x20\\\\x22b\\\\x27\\\\x20\\\\x24{X}");
    }

    #[test]
    fn what_a_second_start_or_the_end_of_a_unit_would_need_cannot_be_set() {
        for name in
            ["Restart", "RestartSec", "ExecStop", "ExecStopPost", "ExecStopEx", "ExecReload"]
        {
            let text = format!("[systemd]\nproperties = {{ {name} = 'x' }}");
            let error = crate::policy::file::Policy::parse(&text).unwrap_err().to_string();
            assert!(error.contains(&format!("{name} cannot be set")), "{error}");
        }
    }
}
