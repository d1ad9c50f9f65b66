//! Unix sockets: who is at the other end.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{AF_UNIX, SO_ACCEPTCONN, SO_DOMAIN, SO_PEERCRED, SO_TYPE, SOCK_STREAM, c_int};
use nix::unistd::Uid;

use crate::system_calls::get_socket_option;

/// The account of the process that has connected, unix(7): as it was then, whoever has the other end now. It is nobody's
/// (65534) if it does not exist in our user namespace.
///
/// # Errors
/// ENOTSOCK for what is no Unix stream socket.
pub fn find_peer(connection: impl AsFd) -> Result<Uid, Errno> {
    let connection = connection.as_fd();
    require_stream(connection)?;
    let [_pid, uid, _gid] = get_socket_option(connection, SO_PEERCRED)?;
    Ok(Uid::from_raw(uid))
}

/// Checks that this is a Unix stream socket on which others connect.
///
/// # Errors
/// ENOTSOCK.
pub fn require_listening(socket: impl AsFd) -> Result<(), Errno> {
    require_stream(socket.as_fd())?;
    let is_listening = get_socket_option(socket.as_fd(), SO_ACCEPTCONN)?.first() == Some(&1);
    if is_listening { Ok(()) } else { Err(Errno::ENOTSOCK) }
}

fn require_stream(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let is = |option, wanted: c_int| {
        let [value, ..] = get_socket_option(socket, option)?;
        Ok::<bool, Errno>(c_int::try_from(value) == Ok(wanted))
    };
    let is_stream = is(SO_DOMAIN, AF_UNIX)? && is(SO_TYPE, SOCK_STREAM)?;
    if is_stream { Ok(()) } else { Err(Errno::ENOTSOCK) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    #[test]
    fn a_peer_is_at_the_other_end_of_a_unix_stream_and_of_nothing_else() {
        let (near, _far) = UnixStream::pair().unwrap();
        assert_eq!(find_peer(&near), Ok(nix::unistd::getuid()));
        assert_eq!(find_peer(UnixDatagram::unbound().unwrap()), Err(Errno::ENOTSOCK));
        assert_eq!(find_peer(TcpListener::bind("127.0.0.1:0").unwrap()), Err(Errno::ENOTSOCK));
        assert_eq!(find_peer(std::fs::File::open("/dev/null").unwrap()), Err(Errno::ENOTSOCK));
        assert_eq!(require_listening(&near), Err(Errno::ENOTSOCK));
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        assert_eq!(require_listening(&listener), Ok(()));
    }
}
