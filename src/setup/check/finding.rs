//! What a look at a machine finds: a value, without a look at anything.

use serde::{Deserialize, Serialize};

use ground::escape::{Lines, escape_control_characters};

/// What a finding is about; findings are shown in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// The mediator's own file.
    Binary,
    /// Which file the Hub calls, and what else goes by this name.
    Path,
    /// sudo, its rules and its settings.
    Sudo,
    /// The policy file.
    Policy,
    /// The hooks.
    Hooks,
    /// The account of the Hub.
    Hub,
    /// The Hub's systemd unit.
    Unit,
    /// An account that is to have a server.
    Target,
    /// The server executables.
    Server,
    /// Limits of servers.
    Limits,
    /// SELinux.
    Selinux,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and somebody should know.
    Warning,
    /// It does not work, or it is a hole.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub area: Area,
    /// Its stable name, for programs and for docs/check.md.
    pub code: &'static str,
    /// How much it matters.
    pub level: Level,
    /// One sentence for a person.
    pub sentence: String,
    /// The command that mends it, for root's shell. Every problem has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// Something that is as it should be.
    #[must_use]
    pub fn ok(area: Area, code: &'static str, sentence: impl AsRef<str>) -> Self {
        Self::new(area, code, Level::Ok, sentence.as_ref(), None)
    }

    /// Something to know; a warning may have a remedy.
    #[must_use]
    pub fn warning(
        area: Area,
        code: &'static str,
        sentence: impl AsRef<str>,
        remedy: Option<String>,
    ) -> Self {
        Self::new(area, code, Level::Warning, sentence.as_ref(), remedy)
    }

    /// Something to mend, with the command that does.
    #[must_use]
    pub fn problem(
        area: Area,
        code: &'static str,
        sentence: impl AsRef<str>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(area, code, Level::Problem, sentence.as_ref(), Some(remedy.into()))
    }

    fn new(
        area: Area,
        code: &'static str,
        level: Level,
        sentence: &str,
        remedy: Option<String>,
    ) -> Self {
        // Names of files and words of other programs stand in sentences.
        let sentence = escape_control_characters(sentence.as_bytes(), Lines::One);
        Self { area, code, level, sentence, remedy }
    }
}
