// SPDX-License-Identifier: GPL-2.0

//! A reference model of a host: what Linux and the flags together make it answer, announce and select.
//!
//! Pure: nothing here talks to a kernel, and nothing is shared with the module. [`Host`] is the state and what
//! an [`Operation`] does to it, written after net/ipv4 of the stock kernel; [`Seen`] is what a [`Probe`] must
//! see, written after `Documentation/semantics.md`; a [`Generator`] makes operations and probes of a seed, and
//! [`shrink`] makes a failing sequence of them short.
//!
//! What it leaves out: forwarding and proxy ARP (their answers are delayed by a random time), broadcast
//! addresses (none is ever configured or asked for), routes by a gateway, routes with a preferred source given
//! by hand, policy rules other than a VRF's.

#![deny(unsafe_code)]

mod fib;
mod generate;
mod host;
mod operation;
mod predict;
mod shrink;

pub use generate::{is_fresh, Generator, Step};
pub use host::{Host, Outcome};
pub use operation::{Command, Directory, Knob, Operation, Slot};
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
