// SPDX-License-Identifier: GPL-2.0

//! Looks at a host from outside.

use crate::operation::{Directory, Knob, Slot};
use std::net::Ipv4Addr;

/// To whom a request is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cast {
    /// Everyone.
    Broadcast,
    /// A group.
    Multicast,
    /// The host's own hardware address.
    Unicast,
}

/// A look at the host from outside that changes nothing of what [`Host`](crate::Host) knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    /// The neighbour sends an ARP request.
    Ask {
        /// The device that hears it.
        on: Slot,
        /// The address asked for.
        tip: Ipv4Addr,
        /// The asker's own; `None` for duplicate address detection.
        sip: Option<Ipv4Addr>,
        /// To whom.
        cast: Cast,
    },
    /// The host has a packet for a neighbour whose hardware address it does not know.
    Resolve {
        /// The device by which the packet leaves.
        out: Slot,
        /// The neighbour: never asked for before.
        target: Ipv4Addr,
        /// The packet's source address.
        from: Ipv4Addr,
    },
    /// A socket of the host, bound to a device or to nothing, is connected.
    Connect {
        /// The destination.
        to: Ipv4Addr,
        /// The device.
        out: Option<Slot>,
    },
    /// A knob is read.
    Read(Directory, Knob),
    /// A knob of the second namespace is read.
    ReadInAnnex(Directory, Knob),
}

/// What a probe sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// What becomes of a request.
    Answer {
        /// It is answered.
        is_answered: bool,
        /// The asker is learnt: never without an answer (row 7). An asker that may be known is no evidence,
        /// and counts as not learnt.
        is_learnt: bool,
    },
    /// The sender address by which the host asks for its neighbour; `None` if it does not ask.
    Sender(Option<Ipv4Addr>),
    /// The source address of the socket; `None` if it cannot be connected.
    Source(Option<Ipv4Addr>),
    /// The value; `None` if there is no such file.
    Value(Option<i32>),
}
