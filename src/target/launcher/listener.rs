//! Finds who listens on a TCP port in the server's network namespace.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use nix::unistd::{Pid, Uid};

/// Who listens on the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    /// Nobody yet.
    Nobody,
    /// Only the target.
    Target,
    /// Another account, which could receive what is meant for the server.
    Other(u32),
}

/// The kernel's state of a listening socket, TCP_LISTEN in `include/net/tcp_states.h`.
const LISTEN: &str = "0A";

/// Looks for sockets that listen on `port`, at any address, as the process `server` sees them. Where /proc
/// hides that process from this one (hidepid), as this one sees them.
///
/// All of them have to be the target's: two accounts can listen on one port at different addresses, and we
/// cannot know which one the Hub will reach.
#[must_use]
pub fn find_listeners(server: Pid, port: u16, target: Uid) -> Listening {
    let mut found = Listening::Nobody;
    let is_visible = Path::new(&format!("/proc/{server}")).exists();
    let process = if is_visible { server.to_string() } else { "self".to_owned() };
    for table in ["tcp", "tcp6"] {
        // If there is no such file, there is no IPv6, or the server has just ended and will be reported.
        let Ok(file) = File::open(format!("/proc/{process}/net/{table}")) else {
            continue;
        };
        for line in BufReader::new(file).lines().skip(1).map_while(Result::ok) {
            let Some(socket) = Socket::parse(&line) else { break };
            if socket.port != port {
                continue;
            }
            if socket.uid != target.as_raw() {
                return Listening::Other(socket.uid);
            }
            found = Listening::Target;
        }
    }
    found
}

/// A listening socket, from a row of proc_net_tcp.
#[derive(Debug, PartialEq, Eq)]
struct Socket {
    port: u16,
    uid: u32,
}

impl Socket {
    /// Reads a row. `None` at the first that does not listen, since the listening ones come first (see
    /// `Documentation/networking/proc_net_tcp.rst` of the kernel).
    fn parse(row: &str) -> Option<Self> {
        let mut fields = row.split_ascii_whitespace();
        let (_, port) = fields.nth(1)?.rsplit_once(':')?;
        if fields.nth(1)? != LISTEN {
            return None;
        }
        Some(Self { port: u16::from_str_radix(port, 16).ok()?, uid: fields.nth(3)?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_listens_tells_port_and_owner_and_any_other_nothing() {
        let listening = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 12345 1 0 100 0 0 10 0";
        assert_eq!(Socket::parse(listening), Some(Socket { port: 8080, uid: 1001 }));
        assert_eq!(Socket::parse(&listening.replace(" 0A ", " 01 ")), None);
        assert_eq!(Socket::parse("nonsense"), None);
        assert_eq!(Socket::parse(""), None);
    }

    #[test]
    fn a_socket_of_ours_is_found_and_to_another_account_it_is_a_strangers() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let me = nix::unistd::geteuid();
        let other = Uid::from_raw(me.as_raw() + 1);
        assert_eq!(find_listeners(Pid::this(), port, me), Listening::Target);
        assert_eq!(find_listeners(Pid::this(), port, other), Listening::Other(me.as_raw()));
        assert_eq!(find_listeners(Pid::this(), 0, me), Listening::Nobody);
    }
}
