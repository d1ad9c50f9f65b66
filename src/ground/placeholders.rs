//! Paths in a policy that have `{user}` and `{server}` in place of names.

use crate::server_name::ServerName;

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

/// A path as one word of a list.
#[must_use]
pub fn quote(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
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
}
