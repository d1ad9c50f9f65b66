//! The name of a server as a part of the names of files and units.

use super::ServerName;

/// A file name has at most 255 bytes, of which `singleuser-`, `.log` and `.1` take their part.
const MAX_ESCAPED_NAME: usize = 255 - 17;

/// Why a text is no server's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrongName {
    /// It has more than 255 bytes, or control characters.
    Malformed,
    /// It is longer than a unit or file name can hold.
    TooLong,
}

impl ServerName {
    /// The name as a part of a file or unit name: [`escape_name`].
    #[must_use]
    pub fn escape(&self) -> String {
        escape_name(self.as_str())
    }

    /// Checks a name that is asked for.
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

/// A name as a part of a file or unit name, escaped as systemd-escape(1) does: letters, digits, `:`, `_`
/// and `.` stand for themselves, `/` becomes `-`, and any other byte, as well as a `.` in front,
/// `\\xNN`. No two names have the same form.
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
