//! Shows findings as text for a person, and as one JSON object for a program.

use serde::Serialize;

use super::finding::{Finding, Level};
use ground::escape::{Lines, escape_control_characters};

/// All that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether there is no problem.
    pub ok: bool,
    /// The version of this program.
    version: &'static str,
    /// "user" or "root"; absent if only one account looked at itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    /// The account of the Hub, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    hub_user: Option<String>,
    /// What was found, by area.
    pub findings: Vec<Finding>,
}

impl Report {
    /// A report of these findings.
    #[must_use]
    pub fn new(
        mode: Option<&'static str>,
        hub_user: Option<String>,
        findings: Vec<Finding>,
    ) -> Self {
        let ok = findings.iter().all(|finding| finding.level != Level::Problem);
        Self { ok, version: env!("CARGO_PKG_VERSION"), mode, hub_user, findings }
    }
}

/// Whether to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// In a terminal.
    Shown,
    /// Elsewhere, and if `NO_COLOR` is set.
    Left,
}

/// Findings as aligned lines, each remedy below its finding, and a last line with the counts.
#[must_use]
pub fn render(report: &Report, in_terminal: bool) -> String {
    let wanted = in_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    render_with(report, if wanted { Colours::Shown } else { Colours::Left })
}

fn render_with(report: &Report, colours: Colours) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let (word, colour) = match finding.level {
            Level::Ok => ("ok", "32"),
            Level::Warning => ("warning", "33"),
            Level::Problem => ("PROBLEM", "1;31"),
        };
        let word = paint(&format!("{word:<8}"), colour, colours);
        let area = format!("{:?}", finding.area).to_lowercase();
        text.push_str(&format!("{word} {area:<8} {}\n", finding.sentence));
        if let Some(remedy) = &finding.remedy {
            let remedy = escape_control_characters(remedy.as_bytes(), Lines::One);
            text.push_str(&format!("{:18}mend: {}\n", "", paint(&remedy, "36", colours)));
        }
    }
    let count = |level| report.findings.iter().filter(|finding| finding.level == level).count();
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    text.push_str(&format!("problems: {problems}, warnings: {warnings}\n"));
    text
}

fn paint(text: &str, colour: &str, colours: Colours) -> String {
    match colours {
        Colours::Shown => format!("\x1b[{colour}m{text}\x1b[0m"),
        Colours::Left => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Area;
    use super::*;

    fn report() -> Report {
        let findings = vec![
            Finding::ok(Area::Binary, "binary", "it is\x1b[31m there"),
            Finding::problem(Area::Unit, "kill_mode", "it ends servers", "mend it"),
        ];
        Report::new(Some("user"), None, findings)
    }

    #[test]
    fn lines_are_aligned_and_each_problem_is_followed_by_what_mends_it() {
        let text = render_with(&report(), Colours::Left);
        assert_eq!(
            text,
            "ok       binary   it is\\u{1b}[31m there\nPROBLEM  unit     it ends servers\n                  \
             mend: mend it\nproblems: 1, warnings: 0\n"
        );
    }

    #[test]
    fn a_terminal_gets_colours() {
        assert!(render_with(&report(), Colours::Shown).contains("\x1b[1;31mPROBLEM \x1b[0m"));
    }

    #[test]
    fn the_json_of_a_report_says_whether_all_is_well() {
        let value = serde_json::to_value(report()).unwrap();
        assert_eq!(value["ok"], false);
        assert_eq!(value["findings"][1]["remedy"], "mend it");
        assert_eq!(value["findings"][0]["level"], "ok");
        assert!(value["findings"][0].get("remedy").is_none());
    }
}
