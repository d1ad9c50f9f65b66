//! A server's name as part of file and unit names.

use super::ServerName;

/// A file name has at most 255 bytes, including `singleuser-`, `.log` and `.1`.
const MAX_ESCAPED_NAME: usize = 255 - 17;

/// Why a text is not a server name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrongName {
    /// It has more than 255 bytes or control characters.
    Malformed,
    /// It is longer than a unit or file name can hold.
    TooLong,
}

impl ServerName {
    /// The name as part of a file or unit name: [`escape_name`].
    #[must_use]
    pub fn escape(&self) -> String {
        escape_name(self.as_str())
    }

    /// Checks a name from a request.
    ///
    /// # Errors
    /// Every [`WrongName`].
    pub fn parse_asked(text: String) -> Result<Self, WrongName> {
        let name = Self::parse(text).ok_or(WrongName::Malformed)?;
        if name.escape().len() > MAX_ESCAPED_NAME {
            return Err(WrongName::TooLong);
        }
        Ok(name)
    }
}

/// Escapes a name for use in a file or unit name, as systemd-escape(1) does: letters, digits, `:`, `_` and
/// `.` stay, `/` becomes `-`, and every other byte, and a leading `.`, becomes `\\xNN`. No two names have the
/// same escaped form.
#[must_use]
pub fn escape_name(name: &str) -> String {
    let escape = |(place, byte): (usize, u8)| match byte {
        b'.' if place == 0 => "\\x2e".to_owned(),
        b'/' => "-".to_owned(),
        b':' | b'_' | b'.' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    };
    name.bytes().enumerate().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escape(name: &str) -> String {
        ServerName::parse_asked(name.to_owned()).unwrap().escape()
    }

    #[test]
    fn names_are_escaped_as_systemd_escape_does() {
        assert_eq!(escape(""), "");
        assert_eq!(escape("gpu_1.a:b"), "gpu_1.a:b");
        assert_eq!(escape(".hidden"), "\\x2ehidden");
        assert_eq!(escape("a/b-c d"), "a-b\\x2dc\\x20d");
        assert_eq!(escape("ü"), "\\xc3\\xbc");
    }
}
