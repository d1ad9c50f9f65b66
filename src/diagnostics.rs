//! The mediator's own log lines: on stderr, which the Hub copies into its log.

use std::io::Write;

use log::LevelFilter;

use crate::escape::{Lines, escape_control_characters};

/// Sends log lines of this level and above to stderr, one line each whatever they hold.
///
/// The level comes from the command line alone: `RUST_LOG` is the caller's and is not read.
pub fn start_logging(level: LevelFilter) {
    env_logger::Builder::new()
        .filter_level(level)
        .format(|line, record| {
            let text = escape_control_characters(record.args().to_string().as_bytes(), Lines::One);
            let initial = record.level().as_str().chars().next().unwrap_or('?');
            writeln!(line, "[{initial} sudospawner] {text}")
        })
        .init();
}
