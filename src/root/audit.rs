//! Writes one line to the system's authentication log for every decision, yes or no.

use crate::account::Caller;
use ground::syslog::{self, Severity};

/// What is logged of one call.
#[derive(Debug)]
pub struct Record<'a> {
    /// Who called, if known.
    pub caller: Option<&'a Caller>,
    /// The target's name, if known.
    pub target: Option<&'a str>,
    /// The action, if the request could be read.
    pub action: Option<&'a str>,
    /// `ok`, or the code of the failure.
    pub code: &'a str,
}

/// Writes the line to `/dev/log` in the name of one of our programs. Waits at most a second for a full log. A
/// call never fails because of the log.
///
/// # Errors
/// The line to write elsewhere, if there is no log or nobody reads it.
pub fn write_record(program: &str, record: &Record<'_>) -> Result<(), String> {
    let unknown = "?";
    let caller = record.caller.map(Caller::to_string);
    // A blank in a name must not begin another field.
    let [caller, target] = [caller.as_deref(), record.target]
        .map(|name| name.unwrap_or(unknown).replace(' ', "\\x20"));
    let (action, code) = (record.action.unwrap_or(unknown), record.code);
    let text = format!("caller={caller} target={target} action={action} code={code}");
    syslog::write_line(program, Severity::Info, &text)
}
