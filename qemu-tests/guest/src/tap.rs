// SPDX-License-Identifier: GPL-2.0

//! A raw socket on one network device, which sends any frame and sees every frame that passes.

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    libc,
    net::if_::if_nametoindex,
    poll::{poll, PollFd, PollFlags, PollTimeout},
    sys::socket::{
        bind, recvfrom, send, setsockopt, socket, sockopt, AddressFamily, LinkAddr, MsgFlags,
        SockFlag, SockProtocol, SockType, SockaddrLike,
    },
};
use std::{
    cell::RefCell,
    mem::size_of,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

/// A frame that passed a device.
pub(crate) struct Passed {
    /// Whether the device received it. If not, it sent it.
    pub(crate) received: bool,
    /// The frame, with its Ethernet header.
    pub(crate) bytes: Vec<u8>,
}

/// The socket. It stays bound to its device if the process changes its namespace.
pub(crate) struct Tap {
    socket: OwnedFd,
    /// Has room for any frame.
    buffer: RefCell<Box<[u8]>>,
}

impl Tap {
    /// Opens a socket on a device of the current namespace.
    pub(crate) fn open(device: &str) -> Result<Self> {
        Self::bound(device, SockProtocol::EthAll as u16)
    }

    /// Opens a socket that sees only what the device receives.
    pub(crate) fn receiver(device: &str) -> Result<Self> {
        let tap = Self::open(device)?;
        let on: libc::c_int = 1;
        // SAFETY: The pointer is valid for reading an integer of that length.
        let result = unsafe {
            libc::setsockopt(
                tap.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_IGNORE_OUTGOING,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        Errno::result(result).context("PACKET_IGNORE_OUTGOING")?;
        Ok(tap)
    }

    /// Opens a socket that only sends, so that no frame is copied to it.
    pub(crate) fn sender(device: &str) -> Result<Self> {
        Self::bound(device, 0)
    }

    fn bound(device: &str, protocol: u16) -> Result<Self> {
        // Without a protocol, it receives no frames of other devices until it is bound.
        let tap = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        setsockopt(&tap, sockopt::RcvBufForce, &(32 << 20))?;
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol,
            sll_ifindex: if_nametoindex(device).with_context(|| format!("no device {device}"))?
                as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let len = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: The pointer is valid for reading a `sockaddr_ll` of that length.
        let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(len)) }
            .context("no link address")?;
        bind(tap.as_raw_fd(), &address)?;
        Ok(Self {
            socket: tap,
            buffer: RefCell::new(vec![0; 1 << 16].into()),
        })
    }

    /// Sends a frame.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<()> {
        send(self.socket.as_raw_fd(), frame, MsgFlags::empty()).context("cannot send a frame")?;
        Ok(())
    }

    /// Returns the next frame that passed, or `None` if none has until `deadline`.
    pub(crate) fn next(&self, deadline: Instant) -> Result<Option<Passed>> {
        let mut buffer = self.buffer.borrow_mut();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            // Round up, so that the last poll before the deadline does wait.
            let timeout = PollTimeout::try_from(left + Duration::from_micros(999))
                .unwrap_or(PollTimeout::MAX);
            if poll(&mut ready, timeout)? == 0 {
                return Ok(None);
            }
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((len, from)) => {
                    let outgoing = from.is_some_and(|from| from.pkttype() == libc::PACKET_OUTGOING);
                    return Ok(Some(Passed {
                        received: !outgoing,
                        bytes: buffer[..len].to_vec(),
                    }));
                }
                // The device was down in between. This is reported once.
                Err(Errno::ENETDOWN) => {}
                Err(error) => return Err(error).context("cannot receive"),
            }
        }
    }
}
