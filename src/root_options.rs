//! Whom a call is for: the one option that is read while this process is root.
//!
//! All other options, and whether the command line is right, are a matter for [`crate::cli`], which a
//! process reads that is the target already, or nobody.

use std::ffi::OsString;

/// The value of `--user`, in the spellings that [`crate::cli`] takes; `None` if it is not there exactly
/// once. What a command line says that is not right as a whole, [`crate::cli`] refuses.
#[must_use]
pub fn find_user(words: &[OsString]) -> Option<&str> {
    let mut found = None;
    let mut words = words.iter().map(|word| word.to_str());
    while let Some(word) = words.next() {
        let option = word.and_then(|word| word.strip_prefix("--").or(word.strip_prefix('-')));
        let value = match option.and_then(|option| option.strip_prefix("user")) {
            Some("") => words.next().flatten(),
            Some(value) => match value.strip_prefix('=') {
                Some(value) => Some(value),
                None => continue,
            },
            None => continue,
        };
        if value.is_none() || found.is_some() {
            return None;
        }
        found = value;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};

    fn to_words(line: &[&str]) -> Vec<OsString> {
        line.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_user_is_found_wherever_it_stands_and_only_where_it_is_given_once() {
        for (line, user) in [
            (&["--user=zoe"][..], Some("zoe")),
            (&["-user=zoe", "--logging=info"], Some("zoe")),
            (&["--logging=info", "--user", "zoe"], Some("zoe")),
            (&["--user="], Some("")),
            (&["--user=a=b"], Some("a=b")),
            (&["--user", "--user=zoe"], Some("--user=zoe")),
            (&[], None),
            (&["--user"], None),
            (&["--users=zoe"], None),
            (&["---user=zoe"], None),
            (&["--User=zoe"], None),
            (&["user=zoe"], None),
            (&["--user=zoe", "--user=zoe"], None),
            (&["--user", "zoe", "-user=wash"], None),
        ] {
            assert_eq!(find_user(&to_words(line)), user, "{line:?}");
        }
    }

    #[test]
    fn of_a_command_line_that_is_right_both_readers_find_the_same_user() {
        let words = ["--user=zoe", "-user", "wash", "--logging=info", "--log-to-stderr", "--user="];
        for first in words {
            for second in words {
                for third in words {
                    let line = to_words(&[first, second, third]);
                    if let Ok(Command::Answer(options)) = parse(line.clone()) {
                        assert_eq!(find_user(&line), options.user.as_deref(), "{line:?}");
                    }
                }
            }
        }
    }
}
