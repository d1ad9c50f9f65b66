//! The units of the socket and of the door behind it.

use std::path::Path;

const SOCKET: &str = include_str!("../../systemd/sudospawner.socket");
const SERVICE: &str = include_str!("../../systemd/sudospawner.service");

/// The socket's unit, for a group.
///
/// # Errors
/// A sentence if the group's name cannot stand in it.
pub fn render_socket(group: &str) -> Result<String, String> {
    require_plain(group)?;
    Ok(SOCKET.replace("SocketGroup=root\n", &format!("SocketGroup={group}\n")))
}

/// The unit of this door.
///
/// # Errors
/// A sentence if its path cannot stand in it.
pub fn render_service(door: &Path) -> Result<String, String> {
    let door = door.to_str().ok_or("the program's path is not UTF-8")?;
    require_plain(door)?;
    Ok(SERVICE.replace("/usr/bin/sudospawner-door", door))
}

/// What systemd reads as it is written.
fn require_plain(text: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-@+:".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Ok(());
    }
    Err(format!("{text:?} cannot stand in a unit as it is: use a number, or another path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_names_what_it_is_printed_for_and_nothing_that_systemd_would_expand() {
        let socket = render_socket("rhea").unwrap();
        assert!(socket.contains("\nSocketGroup=rhea\n") && !socket.contains("SocketGroup=root"));
        let service = render_service(Path::new("/opt/hub/bin/sudospawner-door")).unwrap();
        assert!(service.contains("\nExecStart=/opt/hub/bin/sudospawner-door\n"));
        for wrong in ["", "a b", "%u", "$HOME", "a\nb", "\"a\""] {
            assert!(render_socket(wrong).is_err(), "{wrong:?}");
        }
    }
}
