// SPDX-License-Identifier: GPL-2.0

//! The network of most cases: a real server and a neighbour on its LAN.
//!
//! ```text
//!   neighbour            host
//!   eth0 10.0.0.2/24 --- eth0 10.0.0.1/24
//!                        lo   10.0.0.100/32 (VIP)
//! ```

use crate::{
    lab::{Host, Lab},
    wire::Wire, //
};
use anyhow::Result;
use std::{net::Ipv4Addr, rc::Rc};

/// The host's own address.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The neighbour's address.
pub(crate) const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The cluster's address.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

/// The address of the host's dummy, in networks with one.
pub(crate) const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 5, 5, 5);

/// An address behind the host, in networks with such a route.
pub(crate) const BEHIND: Ipv4Addr = Ipv4Addr::new(10, 6, 6, 6);

/// Creates the host, its neighbour and the wire between them.
pub(crate) fn real_server(lab: &mut Lab) -> Result<(Host, Host, Rc<Wire>)> {
    let (host, neighbour, wire) = bare(lab)?;
    host.ip("addr add 10.0.0.1/24 dev eth0")?;
    host.ip("addr add 10.0.0.100/32 dev lo")?;
    Ok((host, neighbour, wire))
}

/// As [`real_server`], but the host also has a route to a network behind it, to which [`BEHIND`] belongs.
pub(crate) fn with_network_behind(lab: &mut Lab) -> Result<(Host, Host, Rc<Wire>)> {
    let (host, neighbour, wire) = real_server(lab)?;
    host.ip("link add dummy0 up type dummy")?;
    host.ip("route add 10.6.6.0/24 dev dummy0")?;
    Ok((host, neighbour, wire))
}

/// As [`real_server`], but eth0 of the host has a route and no address.
pub(crate) fn unnumbered(lab: &mut Lab) -> Result<(Host, Host, Rc<Wire>)> {
    let (host, neighbour, wire) = bare(lab)?;
    host.ip("addr add 10.0.0.100/32 dev lo")?;
    host.ip("route add 10.0.0.0/24 dev eth0")?;
    Ok((host, neighbour, wire))
}

/// As [`unnumbered`], but the host also has dummy0 with an address that can be selected: [`ELSEWHERE`].
pub(crate) fn unnumbered_with_dummy(lab: &mut Lab) -> Result<(Host, Host, Rc<Wire>)> {
    let (host, neighbour, wire) = unnumbered(lab)?;
    host.dummy("dummy0", "10.5.5.5/24")?;
    Ok((host, neighbour, wire))
}

/// As [`real_server`], but the host has no addresses.
pub(crate) fn bare(lab: &mut Lab) -> Result<(Host, Host, Rc<Wire>)> {
    let host = lab.host("host")?;
    let neighbour = lab.host("neighbour")?;
    let wire = lab.wire((&host, "eth0"), (&neighbour, "eth0"), NEIGHBOUR)?;
    neighbour.ip("addr add 10.0.0.2/24 dev eth0")?;
    Ok((host, neighbour, wire))
}
