//! The text of a policy file.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::viewpoint::look_at;
use root::policy::file::Policy;
use root::policy::reading::POLICY_PATH;
use root::trusted_file::open_trusted;

/// The maximum size of a policy, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads the policy's text, if only root can have written it, and parses it if possible.
pub fn read() -> (String, Option<Policy>) {
    let path = Path::new(POLICY_PATH);
    let text = look_at(path, || read_from(open_trusted(path).ok()?.0).ok()).ok().flatten();
    let policy = text.as_ref().and_then(|text| Policy::parse(text).ok());
    (text.unwrap_or_default(), policy)
}

/// Reads a file that may be a policy, up to the maximum size.
///
/// # Errors
/// A sentence without the file's name.
pub fn read_text(path: &Path) -> Result<String, String> {
    read_from(fs::File::open(path).map_err(|error| error.to_string())?)
}

/// Reads an open file in the same way.
///
/// # Errors
/// A sentence without the file's name.
pub fn read_from(file: fs::File) -> Result<String, String> {
    let mut text = String::new();
    if !file.metadata().is_ok_and(|file| file.is_file()) {
        return Err("it is not a regular file".to_owned());
    }
    file.take(MAX_BYTES.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes"));
    }
    Ok(text)
}
