//! What a job reads on its node: the text of root's policy, and the request as it came.

use std::io::Read;

use target::error::Error;
use target::request::MAX_BYTES;

/// What stands for the request in the ticket of a job that only looks at its node.
pub const LOOK: &str = "look";
/// The most that sbatch takes, in bytes, with the script round the ticket.
const LONGEST: usize = MAX_BYTES - 1024;
/// The most that is read of one, in bytes.
const MAX_TICKET: u64 = MAX_BYTES as u64;

/// Writes a ticket: one line of JSON.
///
/// # Errors
/// [`Error::MalformedRequest`] if the request is not UTF-8, [`Error::RequestTooLarge`] if no script can hold it.
pub fn write_ticket(policy: &str, request: &[u8]) -> Result<String, Error> {
    let malformed = |_| Error::MalformedRequest("it is not UTF-8".to_owned());
    let request = std::str::from_utf8(request).map_err(malformed)?;
    let ticket = serde_json::to_string(&(policy, request)).unwrap_or_default();
    if ticket.len() > LONGEST {
        return Err(Error::RequestTooLarge { limit: LONGEST });
    }
    Ok(ticket)
}

/// Writes the ticket of a job that only looks at its node.
#[must_use]
pub fn write_look(policy: &str) -> String {
    serde_json::to_string(&(policy, LOOK)).unwrap_or_default()
}

/// Reads a ticket, and has it opened if it is sealed: policy and request.
///
/// # Errors
/// A sentence.
pub fn read_ticket(
    input: impl Read,
    unseal: impl FnOnce(String) -> Result<String, String>,
) -> Result<(String, String), String> {
    let mut text = String::new();
    let read = input.take(MAX_TICKET).read_to_string(&mut text);
    read.map_err(|error| format!("the ticket on stdin cannot be read: {error}"))?;
    let text = unseal(text)?;
    serde_json::from_str(&text).map_err(|error| format!("stdin has no ticket: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_one_line_and_is_read_as_it_was_written() {
        let (policy, request) = ("a = 'b'\n# \u{1}\r\n", "{\n\"env\": {\"A\": \"$(id)\\n'\"}}\n");
        let ticket = write_ticket(policy, request.as_bytes()).unwrap();
        assert!(!ticket.contains(char::is_control), "{ticket}");
        let read = read_ticket(ticket.as_bytes(), Ok).unwrap();
        assert_eq!(read, (policy.to_owned(), request.to_owned()));
        assert!(read_ticket(&b"{}"[..], Ok).is_err());
        assert!(write_ticket("", &[b'a'; MAX_BYTES]).is_err());
    }
}
