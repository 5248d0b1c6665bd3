// SPDX-License-Identifier: GPL-2.0

//! Row 1 for addresses that are local only by a route.

use crate::{
    lab::{case::cases, real_server::real_server, Lab, Way},
    wire::who_has,
};
use anyhow::Result;
use std::net::Ipv4Addr;

cases![
    row01_local_prefix,
    row01_local_route_alone,
    row01_local_route_behind_another,
    row01_local_route_after_its_address,
];

/// With 10.7.7.0/28, lo owns sixteen addresses.
fn row01_local_prefix(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    let (inside, outside) = (Ipv4Addr::new(10, 7, 7, 9), Ipv4Addr::new(10, 7, 7, 17));
    host.ip("addr add 10.7.7.0/28 dev lo")?;
    host.ip("route add local 10.8.8.0/24 dev lo")?;
    for way in Way::ALL {
        wire.answered(who_has(inside))?;
        wire.answered(who_has(Ipv4Addr::new(10, 8, 8, 8)))?;
        host.conceal("lo", way)?;
        wire.silent(who_has(inside))?;
        wire.silent(who_has(Ipv4Addr::new(10, 8, 8, 8)))?;
        wire.silent(who_has(outside))?;
        host.ip("addr add 10.7.7.9/32 dev eth0")?;
        wire.answered(who_has(inside))?;
        host.ip("addr del 10.7.7.9/32 dev eth0")?;
        host.reveal("lo", way)?;
    }
    Ok(())
}

/// A single local route that no address explains, added before or after lo is concealed.
fn row01_local_route_alone(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    let owned = Ipv4Addr::new(10, 7, 7, 9);
    for route in [
        "addr ADD 10.7.7.0/28 dev lo",
        "route ADD local 10.7.7.0/28 dev lo",
        "route ADD local 10.7.7.9/32 dev lo",
        "route ADD local 10.7.7.9/32 dev lo proto kernel",
        "route ADD local 10.7.7.9/32 dev lo table main",
    ] {
        let (add, del) = (route.replace("ADD", "add"), route.replace("ADD", "del"));
        for way in Way::ALL {
            host.conceal("lo", way)?;
            host.ip(&add)?;
            wire.silent(who_has(owned))?;
            host.reveal("lo", way)?;
            wire.answered(who_has(owned))?;
            host.conceal("lo", way)?;
            wire.silent(who_has(owned))?;
            host.ip(&del)?;
            host.reveal("lo", way)?;
        }
    }
    Ok(())
}

/// A local route behind another one with a DSCP: the FIB notifier does not report it.
fn row01_local_route_behind_another(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    let owned = Ipv4Addr::new(10, 7, 7, 9);
    host.ip("route add 10.7.7.0/28 tos 0x20 dev eth0 table local")?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        host.ip("route add local 10.7.7.0/28 dev lo")?;
        wire.silent(who_has(owned))?;
        host.reveal("lo", way)?;
        wire.answered(who_has(owned))?;
        host.ip("route del local 10.7.7.0/28 dev lo")?;
    }
    Ok(())
}

/// A local route that looks like an address's own, and stays when the address is removed.
fn row01_local_route_after_its_address(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    let owned = Ipv4Addr::new(10, 7, 7, 9);
    for way in Way::ALL {
        host.conceal("lo", way)?;
        host.ip("addr add 10.7.7.9/32 dev lo")?;
        host.ip("route append local 10.7.7.9/32 dev lo proto kernel")?;
        host.ip("addr del 10.7.7.9/32 dev lo")?;
        wire.silent(who_has(owned))?;
        host.reveal("lo", way)?;
        wire.answered(who_has(owned))?;
        host.ip("route del local 10.7.7.9/32 dev lo")?;
    }
    Ok(())
}
