//! The listening sockets as the kernel names them when it is asked for one port: sock_diag(7). It looks through the
//! sockets that listen, and not through all connections.

use std::os::fd::OwnedFd;

use nix::libc::{AF_INET, AF_INET6, IPPROTO_TCP, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// The type of request and answer, in `include/uapi/linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// The bit of TCP_LISTEN, of `include/net/tcp_states.h`, in the set of states that are asked for.
const LISTENING: u32 = 1 << 10;
/// The length of `struct nlmsghdr`, netlink(7),
const HEADER: usize = 16;
/// of `struct inet_diag_req_v2`,
const QUESTION: usize = 56;
/// and the places of `id.idiag_sport` and `idiag_uid` after the header of a `struct inet_diag_msg`, all of
/// `include/uapi/linux/inet_diag.h`.
const PORT: usize = 4;
const UID: usize = 64;
/// The kernel's answers come in pieces of at most 32 KiB, netlink(7).
const PIECE: usize = 32 * 1024;

/// The accounts whose sockets listen on a port, in this process's network namespace. `None` if the kernel does not
/// answer this question, as in some containers.
pub fn list_owners(port: u16) -> Option<Vec<u32>> {
    let kernel = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    );
    let kernel = kernel.ok()?;
    let mut owners = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let question = ask_for(u8::try_from(family).ok()?, port)?;
        send(&kernel, &question, SendFlags::empty()).ok()?;
        while !read_piece(&kernel, port, &mut owners)? {}
    }
    Some(owners)
}

/// The question for all sockets of a family that listen on a port.
fn ask_for(family: u8, port: u16) -> Option<Vec<u8>> {
    let flags = u16::try_from(NLM_F_REQUEST | NLM_F_DUMP).ok()?;
    let length = HEADER.checked_add(QUESTION)?;
    let mut question = Vec::with_capacity(length);
    question.extend(u32::try_from(length).ok()?.to_ne_bytes());
    question.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    question.extend(flags.to_ne_bytes());
    // Number of the message, and the asking process, which the kernel knows.
    question.extend([0; 8]);
    question.extend([family, u8::try_from(IPPROTO_TCP).ok()?, 0, 0]);
    question.extend(LISTENING.to_ne_bytes());
    question.extend(port.to_be_bytes());
    // No other port, address, interface or cookie.
    question.resize(length, 0);
    Some(question)
}

/// Reads a piece of the answer, and returns whether it was the last. The kernel has it ready: what would have to be
/// waited for is no answer.
fn read_piece(kernel: &OwnedFd, port: u16, owners: &mut Vec<u32>) -> Option<bool> {
    let mut piece = vec![0; PIECE];
    let (length, _) = recv(kernel, piece.as_mut_slice(), RecvFlags::DONTWAIT).ok()?;
    let mut rest = piece.get(..length)?;
    while !rest.is_empty() {
        let length = usize::try_from(u32::from_ne_bytes(*rest.first_chunk()?)).ok()?;
        let message = rest.get(..length)?;
        match u16::from_ne_bytes(*message.get(4..)?.first_chunk()?) {
            SOCK_DIAG_BY_FAMILY => {
                let socket = message.get(HEADER..)?;
                let uid = u32::from_ne_bytes(*socket.get(UID..)?.first_chunk()?);
                // The kernel takes port 0 of the question for any.
                if socket.get(PORT..)?.first_chunk() == Some(&port.to_be_bytes()) {
                    owners.push(uid);
                }
            }
            kind if i32::from(kind) == NLMSG_DONE => return Some(true),
            _ => return None,
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(false)
}
