// SPDX-License-Identifier: GPL-2.0

//! Prefixes of addresses, and scopes.

use std::{fmt, net::Ipv4Addr};

/// An address and the length of its subnet's prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// The address: a host's own, or the first of the subnet.
    pub addr: Ipv4Addr,
    /// The length of the prefix.
    pub len: u8,
}

impl Prefix {
    /// Creates a prefix.
    pub const fn new(addr: Ipv4Addr, len: u8) -> Self {
        Self { addr, len }
    }

    /// Returns the prefix of a single address.
    pub(crate) const fn of(addr: Ipv4Addr) -> Self {
        Self::new(addr, 32)
    }

    /// Returns the prefix with the host's bits cleared.
    pub(crate) fn network(self) -> Self {
        let mask = u32::MAX << (32 - self.len);
        Self::new(Ipv4Addr::from_bits(self.addr.to_bits() & mask), self.len)
    }

    /// Whether the subnet contains `addr`.
    pub(crate) fn covers(self, addr: Ipv4Addr) -> bool {
        Self::new(addr, self.len).network() == self.network()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

/// The scope of an address or a route. Ordered as the kernel's numbers.
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
