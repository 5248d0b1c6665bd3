// SPDX-License-Identifier: GPL-2.0

//! A reference model of a host: what Linux and the flags together make it answer, announce and select.
//!
//! Nothing here talks to a kernel, and nothing is shared with the module. [`Host`] is the state, and an
//! [`Operation`] changes it as net/ipv4 of the stock kernel would; [`Seen`] is what a [`Probe`] must see, by
//! the stock kernel (`stock`) and by `Documentation/semantics.md` (`semantics`); a [`Generator`] makes
//! operations and probes from a seed, and [`shrink`] shortens a failing sequence of them.
//!
//! It leaves out forwarding and proxy ARP (their answers are delayed by a random time), broadcast addresses
//! (none is ever configured or asked for), routes by a gateway, routes with a preferred source given by hand,
//! local routes without an address, and policy rules other than a VRF's and the one for the table "local".

#![deny(unsafe_code)]

mod address;
mod command;
mod conf;
mod fib;
mod generate;
mod host;
mod operation;
mod predict;
mod semantics;
mod shrink;
mod stock;
#[cfg(test)]
mod testing;

pub use command::Command;
pub use generate::{is_fresh, Generator, Step};
pub use host::{Host, Outcome};
pub use operation::{Directory, Knob, Operation, Place, Slot};
pub use predict::{Cast, Probe, Seen};
pub use shrink::shrink;

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
