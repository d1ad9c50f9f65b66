//! What is heard from a process that is another account's, or was: the one place where that becomes findings.
//!
//! Whoever such a process belongs to may have had it say anything. So of its words come a code of a closed
//! list, a level, and words that are shown as what they are. A command for root's shell never does: it comes
//! from whoever hears, by a look of its own.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::finding::{Area, Finding, Level};

/// So many characters of somebody else's words are shown.
const MAX_WORDS: usize = 300;
/// So many findings of one process are heard.
const MAX_FINDINGS: usize = 32;

/// The codes of what an account sees of its own server, with what each is about.
const CODES: [(&str, Area); 9] = [
    ("home_missing", Area::Target),
    ("home_closed", Area::Target),
    ("target_unknown", Area::Target),
    ("binary_closed", Area::Sudo),
    ("policy_unreadable", Area::Policy),
    ("server_missing", Area::Server),
    ("server_untrusted", Area::Server),
    ("server_not_executable", Area::Server),
    ("interpreter", Area::Server),
];

/// One thing that an account saw.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    code: Cow<'static, str>,
    level: Level,
    sentence: String,
}

impl Told {
    /// Something that is as it should be.
    pub fn ok(code: &'static str, sentence: impl Into<String>) -> Self {
        Self { code: code.into(), level: Level::Ok, sentence: sentence.into() }
    }

    /// Something to know.
    pub fn warning(code: &'static str, sentence: impl Into<String>) -> Self {
        Self { code: code.into(), level: Level::Warning, sentence: sentence.into() }
    }

    /// Something to mend.
    pub fn problem(code: &'static str, sentence: impl Into<String>) -> Self {
        Self { code: code.into(), level: Level::Problem, sentence: sentence.into() }
    }
}

/// Findings of what the account `name` has told. `remedy` says what mends a code, by the hearer's own look;
/// where it does not, the remedy is `look`, the command of root's own look.
pub fn accept(
    told: &[Told],
    name: &str,
    look: &str,
    remedy: impl Fn(&'static str) -> Option<String>,
) -> Vec<Finding> {
    let accept_one = |told: &Told| {
        let (code, area) = CODES.into_iter().find(|(code, _)| *code == told.code)?;
        let sentence = format!("as {name} sees it: {}", show_words(&told.sentence));
        Some(match told.level {
            Level::Ok => Finding::ok(area, code, sentence),
            Level::Warning => Finding::warning(area, code, sentence, remedy(code)),
            Level::Problem => match remedy(code) {
                Some(remedy) => Finding::problem(area, code, sentence, remedy),
                None => {
                    let sentence = format!("{sentence}; root's own look says what mends it");
                    Finding::problem(area, code, sentence, look)
                }
            },
        })
    };
    told.iter().take(MAX_FINDINGS).filter_map(accept_one).collect()
}

/// Words of somebody else's as part of a sentence: on one line, without the gaps by which a terminal would
/// show a part of them as a line of its own, and not too many.
pub fn show_words(text: &str) -> String {
    let mut shown = String::new();
    for word in text.split_whitespace() {
        if !shown.is_empty() {
            shown.push(' ');
        }
        for character in word.chars() {
            if character.is_ascii_graphic() {
                shown.push(character);
            } else {
                shown.extend(character.escape_default());
            }
        }
        if shown.len() > MAX_WORDS {
            shown.truncate(MAX_WORDS);
            shown.push_str(" [...]");
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_for_root_is_never_taken_from_a_target() {
        // As a mediator could have been made to say it.
        let text = r#"[
            {"code": "interpreter", "level": "problem", "sentence": "x\u001b[2J", "remedy": "reboot"},
            {"code": "server_untrusted", "level": "warning", "sentence": "x", "remedy": "reboot"},
            {"code": "home_closed", "level": "problem", "sentence": "x", "remedy": "reboot"},
            {"code": "sudo_refuses", "level": "problem", "sentence": "x", "remedy": "reboot"},
            {"code": "home_missing", "level": "ok", "area": "sudo", "sentence": "x", "remedy": "reboot"}
        ]"#;
        let told: Vec<Told> = serde_json::from_str(text).unwrap();
        let own = |code| (code == "home_closed").then(|| "mend".to_owned());
        let findings = accept(&told, "zoe", "look", own);
        let remedies: Vec<_> = findings.iter().map(|one| one.remedy.as_deref()).collect();
        assert_eq!(remedies, [Some("look"), None, Some("mend"), None]);
        assert_eq!(findings[0].area, Area::Server);
        assert!(findings[0].sentence.starts_with("as zoe sees it: x\\u{1b}[2J;"));
        assert_eq!(findings[3].area, Area::Target);
    }

    #[test]
    fn words_stay_on_one_line_and_are_not_too_many() {
        assert_eq!(show_words("a\n      mend: \u{2800}b\u{7}"), "a mend: \\u{2800}b\\u{7}");
        let long = "\u{e9}".repeat(2000) + " b";
        assert!(show_words(&long).len() <= MAX_WORDS + 6);
    }
}
