// SPDX-License-Identifier: GPL-2.0

//! The cases, by what they are about; the numbers in their names are the rows of `Documentation/semantics.md`.

mod announce;
mod churn;
mod faults;
mod gap;
mod hear;
mod hostile;
mod knobs;
mod last;
mod module;
mod random;
mod see;
mod select;

use crate::{
    case::Case,
    lab::{Host, Lab},
    wire::Wire, //
};
use anyhow::Result;
use std::{net::Ipv4Addr, rc::Rc};

/// All cases, in the order in which they run.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    let files = [
        hear::CASES,
        announce::CASES,
        select::CASES,
        knobs::CASES,
        module::CASES,
        gap::CASES,
        see::CASES,
        random::CASES,
        faults::CASES,
        hostile::CASES,
        churn::CASES,
        last::CASES,
    ];
    files.into_iter().flatten()
}

/// The host's own address.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Its neighbour's.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The cluster's.
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

/// The network of most cases:
///
/// ```text
///   neighbour            host
///   eth0 10.0.0.2/24 --- eth0 10.0.0.1/24
///                        lo   10.0.0.100/32 (VIP)
/// ```
fn real_server(lab: &mut Lab) -> Result<(Host, Host, Rc<Wire>)> {
    let (host, neighbour, wire) = bare(lab)?;
    host.ip("addr add 10.0.0.1/24 dev eth0")?;
    host.ip("addr add 10.0.0.100/32 dev lo")?;
    Ok((host, neighbour, wire))
}

/// As [`real_server`], but eth0 of the host has a route and no address.
fn unnumbered(lab: &mut Lab) -> Result<(Host, Host, Rc<Wire>)> {
    let (host, neighbour, wire) = bare(lab)?;
    host.ip("addr add 10.0.0.100/32 dev lo")?;
    host.ip("route add 10.0.0.0/24 dev eth0")?;
    Ok((host, neighbour, wire))
}

/// As [`real_server`], but the host has no addresses.
fn bare(lab: &mut Lab) -> Result<(Host, Host, Rc<Wire>)> {
    let host = lab.host("host")?;
    let neighbour = lab.host("neighbour")?;
    let wire = lab.wire((&host, "eth0"), (&neighbour, "eth0"), NEIGHBOUR)?;
    neighbour.ip("addr add 10.0.0.2/24 dev eth0")?;
    Ok((host, neighbour, wire))
}
