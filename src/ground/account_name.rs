//! The names and numbers of accounts.

/// Whether this can be the name of an account. getpwnam(3) or a directory never sees what it might read as
/// something else: a number, an option or a name with blanks around it. Directories have names with blanks inside.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_foreign =
        |c: char| c.is_control() || (c.is_whitespace() && c != ' ') || ":/,".contains(c);
    text.starts_with(|c| !"-#+% ".contains(c)) && !text.ends_with(' ') && !text.contains(is_foreign)
}

/// Parses a uid or gid in decimal digits without leading zeros. 2^32-1 is refused: it means "none" in system
/// calls.
#[must_use]
pub fn parse_id(text: &str) -> Option<u32> {
    let has_zeros = text.len() > 1 && text.starts_with('0');
    if text.is_empty() || has_zeros || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|id| *id != u32::MAX)
}

/// Parses ids with commas between them.
#[must_use]
pub fn parse_ids(text: &str) -> Option<Vec<u32>> {
    text.split(',').map(parse_id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_blanks_only_inside() {
        for name in
            ["zoe", "domain user", "AD\\jdoe", "jdoe@ad.example", "20150123", "pöttering", "z#-+%"]
        {
            assert!(is_name(name), "{name:?}");
        }
        for wrong in [
            "",
            " ",
            " zoe",
            "zoe ",
            "-zoe",
            "#0",
            "+zoe",
            "%zoe",
            "z:e",
            "z/e",
            "z,e",
            "z\te",
            "z\ne",
            "z\0e",
            "z\u{a0}e",
            "z\u{2028}e",
            "z\u{9b}e",
        ] {
            assert!(!is_name(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_uid_is_decimal_digits_and_nothing_else() {
        assert_eq!(parse_id("0"), Some(0));
        assert_eq!(parse_id("1000"), Some(1000));
        for wrong in
            ["", "-1", "+1", " 1", "1 ", "01", "00", "0x1", "1e3", "4294967295", "4294967296"]
        {
            assert_eq!(parse_id(wrong), None, "{wrong:?}");
        }
    }
}
