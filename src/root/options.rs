//! The options that are read while this process is root: whom a call is for, and what it asks for.
//!
//! `target::cli` reads all other options and decides whether the command line is right. The process that does
//! so is already the target, or nobody. The request states action and server again, and has to agree.

use std::ffi::OsString;

/// What root reads of a command line, unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootOptions<'a> {
    /// The account of `--user`.
    pub user: &'a str,
    /// The action of `--action`, for the log.
    pub action: Option<&'a str>,
}

/// Reads the options in the spellings that `target::cli` accepts. `None` if `--user` is missing, or if one of
/// them is repeated or has no value. `target::cli` refuses a command line that is wrong in other ways.
#[must_use]
pub fn find_options(words: &[OsString]) -> Option<RootOptions<'_>> {
    let (mut user, mut action) = (None, None);
    let mut words = words.iter().map(|word| word.to_str());
    while let Some(word) = words.next() {
        let option = word.and_then(|word| word.strip_prefix("--").or(word.strip_prefix('-')));
        let Some(option) = option else { continue };
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let (place, value) = match name {
            "user" => (&mut user, value.or_else(|| words.next().flatten())),
            "action" => (&mut action, value),
            _ => continue,
        };
        if value.is_none() || place.is_some() {
            return None;
        }
        *place = value;
    }
    Some(RootOptions { user: user?, action })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_words(line: &[&str]) -> Vec<OsString> {
        line.iter().map(OsString::from).collect()
    }

    fn find_user(words: &[OsString]) -> Option<&str> {
        find_options(words).map(|options| options.user)
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
            (&["--user=zoe", "--action"], None),
            (&["--user=zoe", "--action=stop", "-action=kill"], None),
        ] {
            assert_eq!(find_user(&to_words(line)), user, "{line:?}");
        }
    }
}
