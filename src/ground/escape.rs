//! Makes bytes from outside into text that can neither forge a log line nor control a terminal.

/// What to do with line breaks and tabs. They are harmless in a text of several lines, but can forge a line
/// in a log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// The result is one line: `\n` becomes the two characters backslash and n.
    One,
    /// Line breaks and tabs stay as they are.
    Many,
}

/// Writes out every control character (`\x1b`, `\u{9b}`), so that the text can be shown.
///
/// Bytes that are not UTF-8 become U+FFFD. Unicode's line separators and direction marks count as control
/// characters: they can make one line look like another.
#[must_use]
pub fn escape_control_characters(bytes: &[u8], lines: Lines) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        let kept = match character {
            '\n' | '\t' => lines == Lines::Many,
            '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
            other => !other.is_control(),
        };
        if kept {
            escaped.push(character);
        } else {
            escaped.extend(character.escape_default());
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newline_cannot_forge_a_log_line() {
        assert_eq!(
            escape_control_characters(b"a\nroot logged in", Lines::One),
            "a\\nroot logged in"
        );
    }

    #[test]
    fn a_traceback_keeps_its_lines_and_loses_its_colours() {
        assert_eq!(
            escape_control_characters(b"Traceback:\n\t\x1b[31mred", Lines::Many),
            "Traceback:\n\t\\u{1b}[31mred"
        );
    }

    #[test]
    fn bytes_that_are_not_text_and_marks_that_turn_the_writing_are_shown_as_such() {
        assert_eq!(escape_control_characters(b"\xff", Lines::One), "\u{fffd}");
        assert_eq!(escape_control_characters("a\u{202e}b".as_bytes(), Lines::Many), "a\\u{202e}b");
    }
}
