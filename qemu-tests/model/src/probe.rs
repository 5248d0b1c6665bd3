// SPDX-License-Identifier: GPL-2.0

//! Looks at a host from outside.

use crate::operation::{Directory, Knob, Slot};
use std::net::Ipv4Addr;

/// The destination of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cast {
    /// The broadcast address.
    Broadcast,
    /// A multicast address.
    Multicast,
    /// The host's own hardware address.
    Unicast,
}

/// A look at the host that changes nothing in the model's [`Host`](crate::Host).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    /// The neighbour sends an ARP request.
    Ask {
        /// The device that receives it.
        on: Slot,
        /// The target address.
        tip: Ipv4Addr,
        /// The sender address; `None` for duplicate address detection.
        sip: Option<Ipv4Addr>,
        /// The destination.
        cast: Cast,
    },
    /// The host sends a packet to a neighbour whose hardware address it does not know.
    Resolve {
        /// The device through which the packet leaves.
        out: Slot,
        /// The neighbour, which was never asked for before.
        target: Ipv4Addr,
        /// The packet's source address.
        from: Ipv4Addr,
    },
    /// The host connects a socket, which may be bound to a device.
    Connect {
        /// The destination.
        to: Ipv4Addr,
        /// The device.
        out: Option<Slot>,
    },
    /// The value of a knob.
    Read(Directory, Knob),
    /// The value of a knob in the second namespace.
    ReadInAnnex(Directory, Knob),
}

/// What a probe sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// The effect of a request.
    Answer {
        /// There is a reply.
        is_answered: bool,
        /// The sender is learnt, which never happens without a reply (row 7). A sender that may be known already proves
        /// nothing, and counts as not learnt.
        is_learnt: bool,
    },
    /// The sender address of the host's request for its neighbour; `None` if there is no request.
    Sender(Option<Ipv4Addr>),
    /// The source address of the socket; `None` if it cannot be connected.
    Source(Option<Ipv4Addr>),
    /// The value; `None` if there is no such file.
    Value(Option<i32>),
}
