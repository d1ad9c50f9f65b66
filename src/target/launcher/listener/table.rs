//! The listening sockets as /proc lists them, for any process and on any kernel. The kernel walks its whole table of
//! connections, which takes milliseconds on a machine with much memory and a microsecond or two for each socket.

use std::fs::File;
use std::io::{BufRead, BufReader};

/// The kernel's state of a listening socket, TCP_LISTEN in `include/net/tcp_states.h`.
const LISTEN: &str = "0A";

/// The accounts whose sockets listen on a port, as a process sees them. `process` is a pid or `self`.
pub fn list_owners(process: &str, port: u16) -> Vec<u32> {
    // If there is no such file, there is no IPv6, or the server has just ended and will be reported.
    let tables = ["tcp", "tcp6"].map(|table| File::open(format!("/proc/{process}/net/{table}")));
    let rows = tables.into_iter().flatten().flat_map(|table| {
        let rows = BufReader::new(table).lines().skip(1).map_while(Result::ok);
        rows.map_while(|row| Socket::parse(&row))
    });
    rows.filter(|socket| socket.port == port).map(|socket| socket.uid).collect()
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
}
