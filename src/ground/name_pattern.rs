//! The names that accounts may be made with, as a small pattern: part of the syntax of regular expressions, matched
//! wholly and in bounded time.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// The maximum number of characters of a pattern, and of a name that matches one.
const LONGEST: usize = 255;

/// A pattern for whole names: letters, digits, `_`, `-`, `@`, and `[classes]` with ranges, each followed by `{n}`,
/// `{m,n}`, `?`, `*`, `+` or nothing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct NamePattern(Vec<Part>);

/// One of these characters, so many times.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    characters: Vec<RangeInclusive<char>>,
    times: RangeInclusive<usize>,
}

impl Default for NamePattern {
    /// `[a-z][a-z0-9_.-]{0,31}`: what useradd(8) takes, without capitals.
    fn default() -> Self {
        // Without parts it matches no name.
        Self::try_from("[a-z][a-z0-9_.-]{0,31}".to_owned()).unwrap_or(Self(Vec::new()))
    }
}

impl TryFrom<String> for NamePattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let parts = if text.is_empty() || text.len() > LONGEST { None } else { read_parts(&text) };
        parts.map(Self).ok_or(
            "a pattern for names consists of letters, digits, _, -, @ and [classes], each with {n}, {m,n}, ?, * or + \
             behind it or nothing, as in \"[a-z][a-z0-9_.-]{0,31}\"",
        )
    }
}

impl NamePattern {
    /// Whether the whole name is of this pattern.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().take(LONGEST.saturating_add(1)).collect();
        // How much of the name the parts so far can be.
        let mut reached = BTreeSet::from([0]);
        for Part { characters, times } in &self.0 {
            let is_one = |letter: &&char| characters.iter().any(|range| range.contains(letter));
            let mut next = BTreeSet::new();
            for begin in reached {
                let run = name.iter().skip(begin).take(*times.end()).take_while(is_one).count();
                next.extend((*times.start()..=run).map(|count| begin.saturating_add(count)));
            }
            reached = next;
        }
        name.len() <= LONGEST && reached.contains(&name.len())
    }
}

fn read_parts(text: &str) -> Option<Vec<Part>> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let (characters, behind) = match rest.strip_prefix('[') {
            Some(class) => {
                let (class, behind) = class.split_once(']')?;
                (read_class(class)?, behind)
            }
            // A dot would look like any character, as in regular expressions.
            None if first.is_ascii_alphanumeric() || "_-@".contains(first) => {
                (vec![first..=first], rest.get(1..)?)
            }
            None => return None,
        };
        let (times, behind) = read_times(behind)?;
        parts.push(Part { characters, times });
        rest = behind;
    }
    Some(parts)
}

/// What stands between brackets: characters and ranges. `[^a]`, `[!a]` and backslashes mean other things elsewhere.
fn read_class(class: &str) -> Option<Vec<RangeInclusive<char>>> {
    let mut ranges = Vec::new();
    let mut letters = class.chars();
    while let Some(low) = letters.next() {
        let mut behind = letters.clone();
        let range = match (behind.next(), behind.next()) {
            (Some('-'), Some(high)) => {
                letters = behind;
                low..=high
            }
            _ => low..=low,
        };
        if range.is_empty() || class.contains(['[', '\\', '^', '!']) {
            return None;
        }
        ranges.push(range);
    }
    (!ranges.is_empty()).then_some(ranges)
}

/// How many times, and what is behind that.
fn read_times(text: &str) -> Option<(RangeInclusive<usize>, &str)> {
    let times = match text.chars().next() {
        Some('?') => 0..=1,
        Some('*') => 0..=LONGEST,
        Some('+') => 1..=LONGEST,
        Some('{') => {
            let (times, behind) = text.get(1..)?.split_once('}')?;
            let (least, most) = times.split_once(',').unwrap_or((times, times));
            let read = |number: &str| number.parse::<u8>().ok().map(usize::from);
            let times = read(least)?..=read(most)?;
            return (!times.is_empty()).then_some((times, behind));
        }
        _ => return Some((1..=1, text)),
    };
    Some((times, text.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NamePattern, &'static str> {
        text.to_owned().try_into()
    }

    #[test]
    fn a_pattern_matches_whole_names_and_no_others() {
        let digits = "1".repeat(255);
        for (pattern, names, others) in [
            (
                "[a-z][a-z0-9_.-]{0,31}",
                &["z", "zoe", "z.o-e_9", "abcdefghijklmnopqrstuvwxyz012345"][..],
                &["", "Zoe", "9z", "-r", ".", "..", "zoe ", "zoé", "zoe\n", "a/b", "a:b"][..],
            ),
            ("[a-z][a-z0-9_.-]{0,31}", &[], &["abcdefghijklmnopqrstuvwxyz0123456"]),
            ("[a-z]{1,3}", &["a", "abc"], &["", "abcd", "ab1"]),
            ("s[0-9]{6}", &["s123456"], &["s12345", "s1234567", "xs123456"]),
            ("jupyter-[a-z]+@?", &["jupyter-a", "jupyter-zoe@"], &["jupyter-", "jupyter-a@@"]),
            ("a*ab?", &["a", "aaa", "aab"], &["", "b", "abb"]),
            ("[]-]", &[], &[]),
            ("[+*?{}.]", &["+", ".", "}"], &["a", "++"]),
            ("[äö]x{0,0}", &["ä"], &["äx", "a"]),
            ("[0-9]*", &[&digits], &[&format!("{digits}1"), "1a"]),
        ] {
            let Ok(pattern) = parse(pattern) else {
                assert!(names.is_empty(), "{pattern:?}");
                continue;
            };
            for name in names {
                assert!(pattern.matches(name), "{pattern:?} {name:?}");
            }
            for name in others {
                assert!(!pattern.matches(name), "{pattern:?} {name:?}");
            }
        }
        assert!(NamePattern::default().matches("zoe"));
    }

    #[test]
    fn what_would_mean_something_else_in_a_regular_expression_is_no_pattern() {
        for wrong in [
            "",
            ".",
            "a.b",
            "^a$",
            "(a|b)",
            "a|b",
            "\\w",
            "[^a]",
            "[!a]",
            "[\\]]",
            "[]",
            "[]a]",
            "[a",
            "a]",
            "[[:alpha:]]",
            "[z-a]",
            "*",
            "a**",
            "a{",
            "a{}",
            "a{,3}",
            "a{1,}",
            "a{3,1}",
            "a{256}",
            "a{-1}",
            "a{1,2,3}",
            "a b",
            "a/b",
            "ä",
            &"a".repeat(256),
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn no_name_and_no_pattern_takes_long() {
        let pattern = parse(&"[a-z]*".repeat(42)).unwrap();
        assert!(!pattern.matches(&("a".repeat(200) + "1")));
        assert!(!pattern.matches(&"a".repeat(1 << 20)));
    }
}
