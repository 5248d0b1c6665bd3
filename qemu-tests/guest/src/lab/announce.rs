// SPDX-License-Identifier: GPL-2.0

//! The sender address of a host's own requests.

use crate::{lab::Host, wire::Wire};
use anyhow::Result;
use std::net::Ipv4Addr;

/// An unused address of the LAN. Requests for it get no reply.
const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 99);

/// Returns the sender address with which the host asks for a neighbour, to send a packet from `from`.
pub(crate) fn announces(host: &Host, wire: &Wire, from: Ipv4Addr) -> Result<Ipv4Addr> {
    host.ip("neigh flush dev eth0")?;
    wire.heard()?;
    host.say(from, NOBODY)?;
    wire.announced(NOBODY)
}
