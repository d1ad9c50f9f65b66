//! Reads the numbers that several requests have.

use std::time::Duration;

use crate::error::Error;
use crate::json::{self, Fields};

/// The longest duration in a request, in seconds: an hour.
pub const MAX_SECONDS: f64 = 3600.0;

/// Reads the number of a signal, which may be none.
///
/// # Errors
/// [`Error::MalformedRequest`].
pub fn read_signal(fields: &mut Fields) -> Result<i32, Error> {
    let bounds = i64::from(i32::MIN)..=i64::from(i32::MAX);
    let signal = fields.require("signal", json::read_integer(bounds))?;
    i32::try_from(signal).map_err(|_| Error::MalformedRequest("signal".to_owned()))
}

/// Reads an optional duration.
///
/// # Errors
/// [`Error::MalformedRequest`].
pub fn read_seconds(fields: &mut Fields, name: &str, default: u64) -> Result<Duration, Error> {
    match fields.take(name, json::read_number(0.0..=MAX_SECONDS))? {
        None => Ok(Duration::from_secs(default)),
        Some(seconds) => to_duration(seconds),
    }
}

/// Makes a duration of a number of seconds. `Duration::from_secs_f64` panics on such values, and a panic is a call
/// without a reply.
///
/// # Errors
/// [`Error::MalformedRequest`].
pub fn to_duration(seconds: f64) -> Result<Duration, Error> {
    Duration::try_from_secs_f64(seconds).map_err(|error| Error::MalformedRequest(error.to_string()))
}
