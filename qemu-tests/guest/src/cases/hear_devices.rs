// SPDX-License-Identifier: GPL-2.0

//! Rows 1 and 6 for receiving devices other than plain Ethernet: stacked devices and ports of VRFs.

use crate::{
    lab::{
        case::cases,
        real_server::{bare, real_server, NEIGHBOUR, VIP},
        Lab, Way,
    },
    wire::who_has,
};
use anyhow::{ensure, Result};
use std::net::Ipv4Addr;

cases![
    row01_on_a_vlan,
    row01_on_a_bridge,
    row01_on_a_bond,
    row01_macvlan,
    row01_port_of_another_vrf,
    row06_vrf,
];

/// Row 1 for a device on top of eth0, which `steps` create. Requests carry the VLAN `tag`.
fn row01_on(lab: &mut Lab, steps: &[&str], tag: &[u8]) -> Result<()> {
    let (host, _, wire) = bare(lab)?;
    host.ip("addr add 10.0.0.100/32 dev lo")?;
    for step in steps {
        host.ip(step)?;
    }
    let mut request = wire.request(&who_has(VIP)).bytes();
    request.splice(12..12, tag.iter().copied());
    for way in Way::ALL {
        ensure!(wire.replies_to(&request)? == 1, "the flag is off");
        host.conceal("lo", way)?;
        ensure!(wire.replies_to(&request)? == 0, "{way:?}");
        host.reveal("lo", way)?;
    }
    Ok(())
}

fn row01_on_a_vlan(lab: &mut Lab) -> Result<()> {
    let steps = [
        "link add eth0.7 link eth0 type vlan id 7",
        "addr add 10.0.0.1/24 dev eth0.7",
        "link set eth0.7 up",
    ];
    row01_on(lab, &steps, &[0x81, 0, 0, 7])
}

fn row01_on_a_bridge(lab: &mut Lab) -> Result<()> {
    let steps = [
        "link add br0 type bridge",
        "link set eth0 master br0",
        "addr add 10.0.0.1/24 dev br0",
        "link set br0 up",
    ];
    row01_on(lab, &steps, &[])
}

fn row01_on_a_bond(lab: &mut Lab) -> Result<()> {
    let steps = [
        "link add bond0 type bond mode active-backup",
        "link set eth0 down",
        "link set eth0 master bond0",
        "addr add 10.0.0.1/24 dev bond0",
        "link set bond0 up",
    ];
    row01_on(lab, &steps, &[])
}

/// A macvlan receives broadcasts through a work queue, in order. Its reply to a later request shows that it has handled the
/// earlier one.
fn row01_macvlan(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.ip("link add mac0 link eth0 type macvlan mode bridge")?;
    host.ip("link set mac0 up")?;
    host.ip("addr add 10.0.0.3/24 dev mac0")?;
    let own = Ipv4Addr::new(10, 0, 0, 3);
    // eth0 and mac0 both receive the request and both reply, mac0 later.
    for way in Way::ALL {
        ensure!(wire.replies_until(VIP, own)? == 2, "the flag is off");
        host.conceal("lo", way)?;
        ensure!(wire.replies_until(VIP, own)? == 0, "{way:?}");
        host.reveal("lo", way)?;
    }
    Ok(())
}

/// A port of a management VRF on the same LAN. The rule "0: from all lookup local" makes lo's addresses local there. If that
/// rule comes after the VRFs' rule, it does so only where the VRF has no route.
fn row01_port_of_another_vrf(lab: &mut Lab) -> Result<()> {
    let (host, neighbour, wire) = real_server(lab)?;
    let port = lab.wire((&host, "eth1"), (&neighbour, "eth1"), NEIGHBOUR)?;
    let unrouted = Ipv4Addr::new(10, 7, 7, 9);
    host.ip("addr add 10.7.7.0/28 dev lo")?;
    host.ip("link add mgmt up type vrf table 10")?;
    host.ip("link set eth1 master mgmt")?;
    host.ip("addr add 10.0.0.3/24 dev eth1")?;
    for is_first in [true, false] {
        if !is_first {
            host.ip("rule add pref 32765 table local")?;
            host.ip("rule del pref 0")?;
        }
        for way in Way::ALL {
            port.answered(who_has(unrouted))?;
            ensure!(
                port.ask(&who_has(VIP))?.is_empty() != is_first,
                "the flag is off"
            );
            host.conceal("lo", way)?;
            for end in [&wire, &port] {
                end.silent(who_has(VIP))?;
                end.silent(who_has(unrouted))?;
            }
            port.answered(who_has(Ipv4Addr::new(10, 0, 0, 3)))?;
            // A visible owner in the domain of the matching table counts for the port too.
            host.ip("addr add 10.0.0.100/32 dev eth0")?;
            ensure!(
                port.ask(&who_has(VIP))?.is_empty() != is_first,
                "{way:?}: visible"
            );
            host.ip("addr del 10.0.0.100/32 dev eth0")?;
            host.reveal("lo", way)?;
        }
    }
    Ok(())
}

/// An address that is concealed in one l3 domain and visible in another.
fn row06_vrf(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    let other = lab.host("other")?;
    let inner = lab.wire((&host, "eth1"), (&other, "eth0"), NEIGHBOUR)?;
    host.ip("link add red up type vrf table 10")?;
    host.ip("link set eth1 master red")?;
    host.ip("addr add 10.0.0.1/24 dev eth1")?;
    host.ip("addr add 10.0.0.100/32 dev red")?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        wire.silent(who_has(VIP))?;
        inner.answered(who_has(VIP))?;
        host.reveal("lo", way)?;
        host.conceal("red", way)?;
        wire.answered(who_has(VIP))?;
        inner.silent(who_has(VIP))?;
        host.reveal("red", way)?;
    }
    Ok(())
}
