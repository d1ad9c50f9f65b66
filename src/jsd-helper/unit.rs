//! The names of the units that the Hub may start and stop.

use ground::unit_name::{MAX_UNIT_NAME, is_unit_text};

/// Their prefix, as in the original.
const PREFIX: &str = "jsu-";

/// The name of a service of the Hub, with its suffix: `jsu-` and letters, digits, `:`, `-`, `_`, `.` and `\`.
#[derive(Debug)]
pub struct HubUnit(String);

impl HubUnit {
    /// Reads a name with or without the suffix `.service`.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "a unit's name has to begin with \"jsu-\", go on with letters, digits and \
            :-_.\\, and be a service's";
        let stem = text.strip_suffix(".service").unwrap_or(text);
        let own = stem.strip_prefix(PREFIX).unwrap_or_default();
        let name = format!("{stem}.service");
        if own.is_empty() || !is_unit_text(own) || name.len() > MAX_UNIT_NAME {
            return Err(WRONG);
        }
        match own.rsplit_once('.').map_or("", |(_, kind)| kind) {
            // The types of units in systemd.unit(5), and a former one.
            "service" | "socket" | "device" | "mount" | "automount" | "swap" | "target"
            | "path" | "timer" | "slice" | "scope" | "snapshot" => Err(WRONG),
            _ => Ok(Self(name)),
        }
    }

    /// The name with its suffix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its suffix.
    #[must_use]
    pub fn stem(&self) -> &str {
        self.0.strip_suffix(".service").unwrap_or_default()
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
