//! A finding of a look at a machine. It is a value, and does not look at anything.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use ground::escape::{Lines, escape_control_characters};

/// What a finding is about. Findings are shown in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// The mediator's own file.
    Binary,
    /// Which file the Hub calls, and which other programs have its name.
    Path,
    /// sudo, its rules and its settings.
    Sudo,
    /// The socket through which a Hub calls without sudo.
    Socket,
    /// The policy file.
    Policy,
    /// The hooks.
    Hooks,
    /// The account of the Hub.
    Hub,
    /// The Hub's systemd unit.
    Unit,
    /// An account that should have a server.
    Target,
    /// The server executables.
    Server,
    /// The cluster whose jobs the servers are.
    Slurm,
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
    /// It works, but somebody should know about it.
    Warning,
    /// It does not work, or is a security hole.
    Problem,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub area: Area,
    /// Its stable name, for programs and for docs/check.md.
    pub code: Cow<'static, str>,
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

    /// Something worth knowing. A warning may have a remedy.
    #[must_use]
    pub fn warning(
        area: Area,
        code: &'static str,
        sentence: impl AsRef<str>,
        remedy: Option<String>,
    ) -> Self {
        Self::new(area, code, Level::Warning, sentence.as_ref(), remedy)
    }

    /// Something to mend, with the command for it.
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
        // Sentences contain names of files and words of other programs.
        let sentence = escape_control_characters(sentence.as_bytes(), Lines::One);
        Self { area, code: code.into(), level, sentence, remedy }
    }
}
