//! Words for root's shell.

use std::path::Path;

/// A word for the shell, quoted if necessary.
pub fn quote(word: impl AsRef<Path>) -> String {
    let word = word.as_ref().display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._+-@%:,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word;
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_the_shell_would_take_apart_is_quoted() {
        assert_eq!(quote("/opt/jupyterhub/bin"), "/opt/jupyterhub/bin");
        assert_eq!(quote("/a b/$(reboot)'s"), "'/a b/$(reboot)'\\''s'");
        assert_eq!(quote(""), "''");
    }
}
