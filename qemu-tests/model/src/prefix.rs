// SPDX-License-Identifier: GPL-2.0

//! Prefixes of addresses, and scopes.

use std::{fmt, net::Ipv4Addr};

/// An address and the length of its subnet's prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// The address: a host's own, or the first of the subnet.
    pub addr: Ipv4Addr,
    /// The length.
    pub len: u8,
}

impl Prefix {
    /// A prefix.
    pub const fn new(addr: Ipv4Addr, len: u8) -> Self {
        Self { addr, len }
    }

    /// The prefix of one address.
    pub(crate) const fn of(addr: Ipv4Addr) -> Self {
        Self::new(addr, 32)
    }

    /// The subnet without the host's part.
    pub(crate) fn network(self) -> Self {
        let mask = u32::MAX << (32 - self.len);
        Self::new(Ipv4Addr::from_bits(self.addr.to_bits() & mask), self.len)
    }

    /// Whether the subnet has `addr`.
    pub(crate) fn covers(self, addr: Ipv4Addr) -> bool {
        Self::new(addr, self.len).network() == self.network()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

/// How far an address or a route is valid. Ordered as the kernel's numbers are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// On the link.
    Link,
    /// In the host.
    Host,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Global => "global",
            Scope::Link => "link",
            Scope::Host => "host",
        })
    }
}
