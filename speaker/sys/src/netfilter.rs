//! The kernel's netfilter: a netlink socket that carries nf_tables transactions and requests to connection tracking.
//!
//! The messages themselves are made by `ironlb-forward`. The kernel works on them while they are sent: when a call here
//! returns, what it asked for is in force or refused.
#![allow(
    unsafe_code,
    reason = "SO_SNDBUFFORCE has no safe form in the crates we use"
)]

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

/// A netlink socket to netfilter, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Netfilter {
    socket: Socket,
}

/// The kernel's refusal of a message.
#[derive(Debug, thiserror::Error)]
#[error("{source}{}", message.as_ref().map_or_else(String::new, |text| format!(" ({text})")))]
pub struct Refusal {
    /// The sequence number of the message.
    pub sequence: u32,
    /// The kernel's error number.
    pub source: io::Error,
    /// What the kernel says about it, which it does not always.
    pub message: Option<String>,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a message, and with it all that were sent together.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The socket failed.
    #[error("netfilter socket: {0}")]
    Socket(#[from] io::Error),
    /// The kernel said nothing, or not what it should.
    #[error("netfilter gave no answer to message {0}")]
    NoAnswer(u32),
}

impl Netfilter {
    /// Opens the socket. Changing anything by it needs CAP_NET_ADMIN in the namespace.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        Ok(Self { socket })
    }

    /// Sends messages in one piece and waits until the one with the sequence number `last`, which must ask for an
    /// acknowledgement, is done.
    ///
    /// # Errors
    /// The first refusal. Of an nf_tables transaction nothing is in force then.
    pub fn send(&self, messages: &[u8], last: u32) -> Result<(), Error> {
        make_room(self.socket.as_raw_fd(), messages.len());
        self.socket.send(messages, 0)?;
        let mut refusal = None;
        let mut is_done = false;
        self.receive(|header, body| {
            if header.kind == NLMSG_ERROR {
                match refused(header, body) {
                    Some(found) => _ = refusal.get_or_insert(found),
                    None => is_done |= header.sequence == last,
                }
            }
            true
        })?;
        match refusal {
            Some(refusal) => Err(refusal.into()),
            None if is_done => Ok(()),
            None => Err(Error::NoAnswer(last)),
        }
    }

    /// Sends a request for a list, and gives each message of the answer, from behind its netlink header, to `each`.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn list(&self, request: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        self.socket.send(request, 0)?;
        let (mut refusal, mut is_done) = (None, false);
        // The kernel makes the list while it is read.
        while !is_done && refusal.is_none() {
            let mut is_silent = true;
            self.receive(|header, body| {
                is_silent = false;
                match header.kind {
                    NLMSG_DONE => is_done = true,
                    NLMSG_ERROR => refusal = refused(header, body),
                    _ => each(body),
                }
                !is_done
            })?;
            if is_silent {
                return Err(Error::NoAnswer(0));
            }
        }
        refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// Reads what is there until nothing is, or `each` has enough.
    fn receive(&self, mut each: impl FnMut(Header, &[u8]) -> bool) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(RECEIVE_SIZE);
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, libc::MSG_DONTWAIT) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let mut rest = buffer.as_slice();
            while let Some((header, body, after)) = Header::split(rest) {
                if !each(header, body) {
                    return Ok(());
                }
                rest = after;
            }
        }
    }
}

/// Of struct nlmsghdr.
#[derive(Clone, Copy)]
struct Header {
    kind: u16,
    flags: u16,
    sequence: u32,
}

impl Header {
    /// The first message's header and body, and what follows it. `None` when there is no whole message.
    fn split(bytes: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let length = usize::try_from(number(bytes, 0)?).ok()?;
        let body = bytes.get(HEADER_SIZE..length)?;
        let rest = bytes
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
        let (kind, flags) = (half(bytes, 4)?, half(bytes, 6)?);
        Some((
            Self {
                kind,
                flags,
                sequence: number(bytes, 8)?,
            },
            body,
            rest,
        ))
    }
}

/// What an NLMSG_ERROR says (struct nlmsgerr, with NETLINK_CAP_ACK); `None` when it is an acknowledgement.
fn refused(header: Header, body: &[u8]) -> Option<Refusal> {
    let errno = number(body, 0)?.cast_signed();
    if errno == 0 {
        return None;
    }
    let has_attributes = header.flags & NLM_F_ACK_TLVS != 0;
    let attributes = body
        .get(4 + HEADER_SIZE..)
        .filter(|_| has_attributes)
        .unwrap_or_default();
    Some(Refusal {
        sequence: header.sequence,
        source: io::Error::from_raw_os_error(errno.saturating_neg()),
        message: kernel_message(attributes),
    })
}

/// The attribute NLMSGERR_ATTR_MSG.
fn kernel_message(attributes: &[u8]) -> Option<String> {
    let mut rest = attributes;
    loop {
        let length = usize::from(half(rest, 0)?);
        let kind = half(rest, 2)?;
        let value = rest.get(4..length)?;
        if kind == NLMSGERR_ATTR_MSG {
            let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = rest.get(length.next_multiple_of(ALIGNMENT)..)?;
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A transaction must be sent whole, and the kernel takes no more at once than the send buffer holds. Without
/// the right to exceed the system's limit, a transaction beyond it is refused (EMSGSIZE), and said so.
fn make_room(socket: RawFd, length: usize) {
    let wanted = libc::c_int::try_from(length.saturating_mul(2)).unwrap_or(libc::c_int::MAX);
    if length < SEND_BUFFER_TO_BE_SURE_OF {
        return;
    }
    for option in [libc::SO_SNDBUFFORCE, libc::SO_SNDBUF] {
        let size = libc::socklen_t::try_from(size_of_val(&wanted)).unwrap_or(0);
        // SAFETY: the pointer and the size are those of an integer that lives through the call.
        let result = unsafe {
            libc::setsockopt(
                socket,
                libc::SOL_SOCKET,
                option,
                (&raw const wanted).cast(),
                size,
            )
        };
        if result == 0 {
            return;
        }
    }
}

const HEADER_SIZE: usize = 16;
const ALIGNMENT: usize = 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// The kernel writes lists in pieces of at most this size.
const RECEIVE_SIZE: usize = 32 * 1024;
/// Every system's default is above.
const SEND_BUFFER_TO_BE_SURE_OF: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// An NLMSG_ERROR with -ENOENT for message 5, with a text, as the kernel writes it.
    fn error_message() -> Vec<u8> {
        let mut bytes = Vec::new();
        let text = b"no such chain\0";
        let attribute = 4 + text.len();
        let length = HEADER_SIZE + 4 + HEADER_SIZE + attribute.next_multiple_of(4);
        bytes.extend_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
        bytes.extend_from_slice(&NLMSG_ERROR.to_ne_bytes());
        bytes.extend_from_slice(&(NLM_F_ACK_TLVS | 0x100).to_ne_bytes());
        bytes.extend_from_slice(&5_u32.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(-libc::ENOENT).to_ne_bytes());
        bytes.extend_from_slice(&[0; HEADER_SIZE]);
        bytes.extend_from_slice(&u16::try_from(attribute).unwrap().to_ne_bytes());
        bytes.extend_from_slice(&NLMSGERR_ATTR_MSG.to_ne_bytes());
        bytes.extend_from_slice(text);
        bytes.resize(length, 0);
        bytes
    }

    #[test]
    fn a_refusal_says_which_message_what_and_why() {
        let bytes = error_message();
        let (header, body, rest) = Header::split(&bytes).unwrap();
        assert!(rest.is_empty());
        let refusal = refused(header, body).unwrap();
        assert_eq!(refusal.sequence, 5);
        assert_eq!(refusal.source.raw_os_error(), Some(libc::ENOENT));
        assert_eq!(refusal.message.as_deref(), Some("no such chain"));
    }

    #[test]
    fn a_refusal_cut_off_anywhere_is_read_without_a_panic() {
        let bytes = error_message();
        for length in 0..bytes.len() {
            assert!(Header::split(&bytes[..length]).is_none());
            let (header, body, _) = Header::split(&bytes).unwrap();
            let _ = refused(header, &body[..length.min(body.len())]);
        }
    }

    #[test]
    fn a_list_of_connections_comes_to_its_end() {
        let Ok(netfilter) = Netfilter::open() else {
            return;
        };
        // IPCTNL_MSG_CT_GET as a dump. Without the right to ask, the kernel refuses; either ends.
        let mut request = 20_u32.to_ne_bytes().to_vec();
        request.extend_from_slice(&0x101_u16.to_ne_bytes());
        request.extend_from_slice(&0x301_u16.to_ne_bytes());
        request.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        match netfilter.list(&request, |_| {}) {
            Ok(()) | Err(Error::Refused(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}
