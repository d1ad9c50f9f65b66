//! The texts that a spawn asks to have as files: the server's certificate and key.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::json::{self, Fields};

/// The texts by the names of their files.
pub type Files = BTreeMap<String, String>;

/// The maximum number of files,
const MOST: usize = 16;
/// the maximum size of one, in bytes,
const MAX_BYTES: usize = 64 * 1024;
/// and the maximum length of a name, in bytes: limits.h.
const MAX_NAME: usize = 255;

/// Reads the optional field `files`.
///
/// # Errors
/// [`Error::MalformedRequest`], which may have the name of a file, and never its text.
pub fn read_files(fields: &mut Fields) -> Result<Files, Error> {
    let files = fields.take("files", json::read_text_by_name)?.unwrap_or_default();
    let malformed =
        |what: &str| Err(Error::MalformedRequest(format!("the field \"files\" {what}")));
    if files.len() > MOST {
        return malformed(&format!("has more than {MOST} files"));
    }
    for (name, text) in &files {
        if !is_name(name) {
            return malformed(&format!(
                "has the name {name:?}: a name has letters, digits, \".\", \"_\" and \"-\", and does not begin with a dot"
            ));
        }
        if text.len() > MAX_BYTES {
            return malformed(&format!("has more than {MAX_BYTES} bytes in {name}"));
        }
    }
    Ok(files)
}

fn is_name(text: &str) -> bool {
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(is_sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path_that_no_listing_hides() {
        for name in ["server.key", "A", "0-_.crt", "-rf", &"x".repeat(255)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", ".hidden", "a/b", "/etc/x", "a b", "ä", "a\n", &"x".repeat(256)]
        {
            assert!(!is_name(name), "{name}");
        }
    }
}
