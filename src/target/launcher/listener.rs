//! Finds who listens on a TCP port in the server's network namespace.

mod sock_diag;
mod table;

use std::fs;
use std::os::unix::fs::MetadataExt;

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

/// Looks for sockets that listen on `port`, at any address, as the process `server` sees them. Where /proc
/// hides that process from this one (hidepid), as this one sees them.
///
/// All of them have to be the target's: two accounts can listen on one port at different addresses, and we
/// cannot know which one the Hub will reach.
#[must_use]
pub fn find_listeners(server: Pid, port: u16, target: Uid) -> Listening {
    let process = server.to_string();
    let owners = match find_network(&process) {
        Some(network) if Some(network) != find_network("self") => {
            table::list_owners(&process, port)
        }
        _ => sock_diag::list_owners(port).unwrap_or_else(|| table::list_owners("self", port)),
    };
    match owners.iter().find(|uid| **uid != target.as_raw()) {
        Some(other) => Listening::Other(*other),
        None if owners.is_empty() => Listening::Nobody,
        None => Listening::Target,
    }
}

/// The number of a process's network namespace's list of sockets; each namespace has a list of its own. In root mode
/// nobody asks, who may not read `/proc/PID/ns`. `None` if the process is hidden from this one, or has ended.
fn find_network(process: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{process}/net/tcp")).ok().map(|list| list.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn both_ways_find_the_listening_sockets_of_both_families_and_no_other() {
        let me = nix::unistd::geteuid().as_raw();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = std::net::TcpListener::bind(address) else { continue };
            let address = socket.local_addr().unwrap();
            let client = std::net::TcpStream::connect(address).unwrap();
            let _accepted = socket.accept().unwrap();
            let own = client.local_addr().unwrap().port();
            for (port, owners) in [(address.port(), vec![me]), (own, vec![])] {
                assert_eq!(sock_diag::list_owners(port), Some(owners.clone()));
                assert_eq!(table::list_owners("self", port), owners);
            }
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_server_in_another_network_is_looked_for_in_its_own() {
        if !nix::unistd::geteuid().is_root() {
            return; // Nobody else can make a network.
        }
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut apart = std::process::Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec cat"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Read::read_exact(apart.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let pid = Pid::from_raw(i32::try_from(apart.id()).unwrap());
        let found = find_listeners(pid, port, nix::unistd::geteuid());
        drop(apart.stdin.take());
        apart.wait().unwrap();
        assert_eq!(found, Listening::Nobody);
    }
}
