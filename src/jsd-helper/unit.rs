//! The names of the units that the Hub may start and stop.

/// What they begin with, as in the original.
const PREFIX: &str = "jsu-";

/// What systemd.unit(5) knows as other kinds of units.
const OTHER_KINDS: [&str; 11] = [
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
    "snapshot",
];

/// The name of a service of the Hub's: `jsu-` and letters, digits, `:`, `-`, `_`, `.` and `\`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubUnit {
    name: String,
    stem_length: usize,
}

impl HubUnit {
    /// Reads a name, with the suffix `.service` or without.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let stem = text.strip_suffix(".service").unwrap_or(text);
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte);
        let kind = stem.rsplit_once('.').map(|(_, kind)| kind);
        let is_other = kind.is_some_and(|kind| kind == "service" || OTHER_KINDS.contains(&kind));
        let name = format!("{stem}.service");
        let own = stem.strip_prefix(PREFIX).unwrap_or_default();
        if own.is_empty() || !own.bytes().all(is_letter) || is_other || name.len() > 255 {
            return Err(format!(
                "a unit's name has to begin with {PREFIX:?}, go on with letters, digits and :-_.\\, and \
                 be a service's"
            ));
        }
        Ok(Self { name, stem_length: stem.len() })
    }

    /// The name with its suffix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The name without it.
    #[must_use]
    pub fn stem(&self) -> &str {
        self.name.get(..self.stem_length).unwrap_or_default()
    }

    /// The directory below /run where the Hub puts the unit's variables, by either name.
    #[must_use]
    pub fn list_directories(&self) -> [String; 2] {
        [self.stem(), self.as_str()].map(|name| format!("jhub/{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_a_service_of_the_hubs_with_or_without_its_suffix() {
        for text in ["jsu-zoe", "jsu-zoe.service"] {
            let unit = HubUnit::parse(text).unwrap();
            assert_eq!((unit.as_str(), unit.stem()), ("jsu-zoe.service", "jsu-zoe"));
        }
        for text in ["jsu-zoe.smith", "jsu-a\\x2db", "jsu-a:b_c-d", "jsu-1"] {
            assert!(HubUnit::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_name_that_is_a_pattern_a_path_another_kind_or_anothers_is_refused() {
        for text in [
            "",
            "jsu-",
            "jsu",
            "jsu-.service",
            "zoe",
            "ssh.service",
            "xjsu-zoe",
            "JSU-zoe",
            "jsu-*",
            "jsu-?",
            "jsu-[a]",
            "jsu-a/b",
            "jsu-../x",
            "jsu-a b",
            "jsu-a\n",
            "jsu-a@b",
            "jsu-%i",
            "jsu-ü",
            "jsu-a.socket",
            "jsu-a.timer",
            "jsu-a.slice",
            "jsu-a.scope",
            "jsu-a.mount",
            "jsu-a.service.service",
            "-jsu-a",
            "--jsu-a",
            "jsu-a,b",
            "jsu-a\u{0}",
        ] {
            assert!(HubUnit::parse(text).is_err(), "{text:?}");
        }
        assert!(HubUnit::parse(&format!("jsu-{}", "a".repeat(250))).is_err());
    }
}
