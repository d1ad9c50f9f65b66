//! Turns into findings what a process says that runs, or ran, as another account. Only this file does so.
//!
//! The owner of such a process may have made it say anything. So only three things are taken from its words:
//! a code from a closed list, a level, and text that is shown as quoted text. A command for root's shell is
//! never taken. It comes from the hearer's own look.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::finding::{Area, Finding, Level};

/// How many characters of another account's words are shown.
const MAX_WORDS: usize = 300;
/// How many findings of one process are accepted.
const MAX_FINDINGS: usize = 32;

/// The codes for what an account sees of its own server, and their areas.
const CODES: [(&str, Area); 11] = [
    ("home_missing", Area::Target),
    ("home_closed", Area::Target),
    ("home_unresponsive", Area::Target),
    ("target_unknown", Area::Target),
    ("binary_closed", Area::Sudo),
    ("policy_unreadable", Area::Policy),
    ("server_unresponsive", Area::Server),
    ("server_missing", Area::Server),
    ("server_untrusted", Area::Server),
    ("server_not_executable", Area::Server),
    ("interpreter", Area::Server),
];

/// One thing that an account reported.
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

    /// Something worth knowing.
    pub fn warning(code: &'static str, sentence: impl Into<String>) -> Self {
        Self { code: code.into(), level: Level::Warning, sentence: sentence.into() }
    }

    /// Something to mend.
    pub fn problem(code: &'static str, sentence: impl Into<String>) -> Self {
        Self { code: code.into(), level: Level::Problem, sentence: sentence.into() }
    }
}

/// Turns what the account `name` told into findings. `remedy` finds the remedy of a code by the hearer's own
/// look. If it finds none, the remedy is `look`, the command for root's own look.
pub fn accept(
    told: &[Told],
    name: &str,
    look: &str,
    remedy: impl Fn(&'static str) -> Option<String>,
) -> Vec<Finding> {
    let accept_one = |told: &Told| {
        let (code, area) = CODES.into_iter().find(|(code, _)| *code == told.code)?;
        let begin = format!("as {name} sees it: ");
        // What came through sudo was already told once.
        let words = told.sentence.strip_prefix(&begin).unwrap_or(&told.sentence);
        let sentence = begin + &show_words(words);
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

/// Another account's words as part of a sentence: on one line, not too long, and without gaps that would make
/// a terminal show a part as a line of its own.
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
        // A manipulated mediator could say this.
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
