//! The name of one of a user's servers.

pub mod escaping;

/// The name of one of a user's servers; the default server's name is empty. It has at most 255 bytes and no
/// control characters.
///
/// A name from a request is also short enough for a file name when escaped, see [`ServerName::parse_asked`].
/// Root writes no file of that name, and checks what it uses itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerName(String);

impl ServerName {
    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks a name; `None` if it has more than 255 bytes or control characters.
    #[must_use]
    pub fn parse(text: String) -> Option<Self> {
        let is_name = text.len() <= 255 && !text.chars().any(char::is_control);
        is_name.then_some(Self(text))
    }
}
