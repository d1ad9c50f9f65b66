//! Reads the policy file: only if it is root's, and only if all of it is understood.

use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::authority::{Authority, PATH};
use crate::denial::Denial;
use crate::trusted_file::{Distrust, open_trusted};

/// A policy is at most this large, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads the policy file's text; `None` if there is no file.
///
/// # Errors
/// [`Denial::PolicyUntrusted`], [`Denial::PolicyUnreadable`] and [`Denial::PolicyMalformed`].
pub fn read_text() -> Result<Option<String>, Denial> {
    let file = match open_trusted(Path::new(PATH)) {
        Ok((file, _)) => file,
        Err(Distrust::Missing(_)) => return Ok(None),
        Err(Distrust::Closed(path, errno)) => {
            return Err(Denial::PolicyUnreadable { path, errno: errno as i32 });
        }
        Err(distrust) => return Err(Denial::PolicyUntrusted(distrust.to_string())),
    };
    let mut text = String::new();
    file.take(MAX_BYTES.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(|error| malformed(error.to_string()))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(malformed(format!("it is larger than {MAX_BYTES} bytes")));
    }
    Ok(Some(text))
}

/// What is wrong with the text.
pub fn malformed(reason: String) -> Denial {
    Denial::PolicyMalformed { path: PATH.into(), reason }
}

impl Authority {
    /// Parses root's part of a policy's text.
    ///
    /// # Errors
    /// A sentence that names line and key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let authority: Self = parse_toml(text)?;
        if authority.targets.min_uid == 0 {
            return Err("targets.min_uid has to be at least 1: root is never a target".to_owned());
        }
        Ok(authority)
    }
}

/// Parses a text; what is wrong is said with line, message and key, since the library's own display
/// shows the line's text, on several lines.
///
/// # Errors
/// That sentence.
pub fn parse_toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let above = before.matches('\n').count();
        let key = text.lines().nth(above).and_then(|line| line.split_once('='));
        let key = key.map_or_else(String::new, |(key, _)| format!(" ({})", key.trim()));
        format!("line {}: {}{key}", above.saturating_add(1), error.message())
    })
}
