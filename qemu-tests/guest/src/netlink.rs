// SPDX-License-Identifier: GPL-2.0

//! Just enough of rtnetlink to add and remove an address or a device without starting a program.

use anyhow::{ensure, Context, Result};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{
        recv,
        send,
        socket,
        AddressFamily,
        MsgFlags,
        SockFlag,
        SockProtocol,
        SockType, //
    },
};
use std::{
    net::Ipv4Addr,
    os::fd::{AsRawFd, OwnedFd},
};

/// A socket, for the namespace in which it was opened.
pub(crate) struct Netlink(OwnedFd);

/// A request.
pub(crate) struct Request(Vec<u8>);

impl Netlink {
    /// Opens a socket for the current namespace.
    pub(crate) fn open() -> Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Self(socket))
    }

    /// Sends a request. The kernel has carried it out when this returns; [`Self::outcome`] returns the result.
    pub(crate) fn send(&self, request: &Request) -> Result<()> {
        send(self.0.as_raw_fd(), &request.0, MsgFlags::empty()).context("netlink")?;
        Ok(())
    }

    /// Returns the result of the last request.
    pub(crate) fn outcome(&self) -> Result<()> {
        let mut answer = [0; 4096];
        let len = recv(self.0.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        ensure!(len >= 20, "a short answer from netlink");
        let error = i32::from_ne_bytes(answer[16..20].try_into()?);
        match error {
            0 => Ok(()),
            error => Err(Errno::from_raw(-error)).context("netlink answers"),
        }
    }
}

impl Request {
    fn new(kind: u16, flags: i32, body: &[u8], attributes: &[u8]) -> Self {
        let len = 16 + body.len() + attributes.len();
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16;
        let mut bytes = Vec::with_capacity(len);
        bytes.extend((len as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]); // sequence number, port
        bytes.extend(body);
        bytes.extend(attributes);
        Self(bytes)
    }

    /// `ip addr add ADDR/32 dev ...`, by the device's index.
    pub(crate) fn add_address(ifindex: u32, addr: Ipv4Addr) -> Self {
        Self::address(
            libc::RTM_NEWADDR,
            libc::NLM_F_CREATE | libc::NLM_F_EXCL,
            ifindex,
            addr,
        )
    }

    /// `ip addr del ADDR/32 dev ...`, by the device's index.
    pub(crate) fn delete_address(ifindex: u32, addr: Ipv4Addr) -> Self {
        Self::address(libc::RTM_DELADDR, 0, ifindex, addr)
    }

    fn address(kind: u16, flags: i32, ifindex: u32, addr: Ipv4Addr) -> Self {
        let mut body = vec![libc::AF_INET as u8, 32, 0, 0];
        body.extend(ifindex.to_ne_bytes());
        Self::new(
            kind,
            flags,
            &body,
            &attribute(libc::IFA_LOCAL, &addr.octets()),
        )
    }

    /// `ip link add NAME type dummy`.
    pub(crate) fn add_dummy(name: &str) -> Self {
        let kind = attribute(libc::IFLA_INFO_KIND, b"dummy");
        let attributes = [
            attribute(libc::IFLA_IFNAME, format!("{name}\0").as_bytes()),
            attribute(libc::IFLA_LINKINFO, &kind),
        ]
        .concat();
        Self::new(
            libc::RTM_NEWLINK,
            libc::NLM_F_CREATE | libc::NLM_F_EXCL,
            &[0; 16],
            &attributes,
        )
    }

    /// `ip link del NAME`.
    pub(crate) fn delete_link(name: &str) -> Self {
        let name = attribute(libc::IFLA_IFNAME, format!("{name}\0").as_bytes());
        Self::new(libc::RTM_DELLINK, 0, &[0; 16], &name)
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
