// SPDX-License-Identifier: GPL-2.0

//! Requests that a host hears: rows 1 to 7.

use crate::{
    lab::{
        announce::announces,
        case::cases,
        real_server::{bare, real_server, ELSEWHERE, HOST, NEIGHBOUR, VIP},
        Lab, Way,
    },
    wire::who_has,
};
use anyhow::{ensure, Result};
use std::net::Ipv4Addr;

cases![
    row01_broadcast,
    row01_all_must_be_set,
    row01_local_prefix,
    row01_local_route_alone,
    row01_local_route_behind_another,
    row01_local_route_after_its_address,
    row01_on_a_vlan,
    row01_on_a_bridge,
    row01_on_a_bond,
    row01_macvlan,
    row01_port_of_another_vrf,
    row02_unicast,
    row02_two_owners,
    row03_own_address,
    row04_duplicate_address_detection,
    row05_duplicate_address_detection_own,
    row06_weak_host,
    row06_any_visible_owner_wins,
    row06_keepalived,
    row06_vrf,
    row07_requester_not_learnt,
];

fn row01_broadcast(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for way in Way::ALL {
        wire.answered(who_has(VIP))?;
        wire.answered(who_has(VIP).multicast())?;
        host.conceal("lo", way)?;
        wire.silent(who_has(VIP))?;
        wire.silent(who_has(VIP).multicast())?;
        wire.answered(who_has(HOST))?;
        host.reveal("lo", way)?;
    }
    wire.answered(who_has(VIP))
}

fn row01_all_must_be_set(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for way in Way::ALL {
        host.conf("lo", way.knob(), 1)?;
        wire.answered(who_has(VIP))?;
        host.conf("all", way.knob(), 1)?;
        wire.silent(who_has(VIP))?;
        host.conf("lo", way.knob(), 0)?;
        wire.answered(who_has(VIP))?;
        host.conf("all", way.knob(), 0)?;
    }
    Ok(())
}

/// `ip addr add 10.0.0.0/28 dev lo` makes lo own sixteen addresses.
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

/// Local routes beyond the addresses, each alone: there when lo is concealed, or added after that.
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

/// A local route that another one for a DSCP hides from the FIB's notifier.
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

/// A local route that looks like that of an address, and stays when the address goes.
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

/// A device on top of the wire's end receives: `steps` make it; requests come with the VLAN's `tag`.
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

/// A macvlan hears broadcasts from a work queue: what shows that it had its turn is a later answer.
fn row01_macvlan(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.ip("link add mac0 link eth0 type macvlan mode bridge")?;
    host.ip("link set mac0 up")?;
    host.ip("addr add 10.0.0.3/24 dev mac0")?;
    let own = Ipv4Addr::new(10, 0, 0, 3);
    // eth0 and mac0 both hear and both answer, mac0 later.
    for way in Way::ALL {
        ensure!(wire.replies_until(VIP, own)? == 2, "the flag is off");
        host.conceal("lo", way)?;
        ensure!(wire.replies_until(VIP, own)? == 0, "{way:?}");
        host.reveal("lo", way)?;
    }
    Ok(())
}

/// A management VRF's port on the same LAN. The rule "0: from all lookup local" makes lo's addresses local there; behind
/// the VRFs' rule it does so where the VRF has no route.
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
            // A visible owner in the domain that the rule leads to is one for the port too.
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

fn row02_unicast(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    wire.answered(who_has(VIP).unicast())?;
    for classic in [Way::Hidden, Way::Invisible] {
        host.conceal("lo", classic)?;
        wire.silent(who_has(VIP))?;
        wire.answered(who_has(VIP).unicast())?;
        host.reveal("lo", classic)?;
    }
    host.conceal("lo", Way::Strict)?;
    wire.silent(who_has(VIP).unicast())?;
    wire.answered(who_has(HOST).unicast())?;
    host.reveal("lo", Way::Strict)?;
    wire.answered(who_has(VIP).unicast())
}

/// Silence to unicast takes every owner's wish.
fn row02_two_owners(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.dummy("dummy0", "10.0.0.100/32")?;
    host.conceal("lo", Way::Strict)?;
    host.conceal("dummy0", Way::Hidden)?;
    wire.silent(who_has(VIP))?;
    wire.answered(who_has(VIP).unicast())?;
    host.conceal("dummy0", Way::Strict)?;
    wire.silent(who_has(VIP).unicast())?;
    host.reveal("dummy0", Way::Strict)?;
    host.conceal("dummy0", Way::Invisible)?;
    wire.silent(who_has(VIP))?;
    wire.answered(who_has(VIP).unicast())
}

fn row03_own_address(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.ip("addr add 10.0.0.100/32 dev eth0")?;
    for way in Way::ALL {
        // On hidden lo too: who hears it is an owner.
        host.conceal("lo", way)?;
        host.conceal("eth0", way)?;
        for tip in [HOST, VIP] {
            wire.answered(who_has(tip))?;
            wire.answered(who_has(tip).multicast())?;
            wire.answered(who_has(tip).unicast())?;
        }
        host.reveal("lo", way)?;
        host.reveal("eth0", way)?;
    }
    host.conceal("lo", Way::Hidden)?;
    host.ip("addr del 10.0.0.100/32 dev eth0")?;
    wire.silent(who_has(VIP))
}

fn row04_duplicate_address_detection(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for way in Way::ALL {
        wire.answered(who_has(VIP).dad())?;
        wire.answered(who_has(VIP).dad().unicast())?;
        host.conceal("lo", way)?;
        wire.silent(who_has(VIP).dad())?;
        wire.silent(who_has(VIP).dad().unicast())?;
        host.reveal("lo", way)?;
    }
    Ok(())
}

fn row05_duplicate_address_detection_own(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for way in Way::ALL {
        host.conceal("eth0", way)?;
        host.conceal("lo", way)?;
        wire.answered(who_has(HOST).dad())?;
        wire.answered(who_has(HOST).dad().unicast())?;
        host.reveal("eth0", way)?;
        host.reveal("lo", way)?;
    }
    Ok(())
}

fn row06_weak_host(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.dummy("dummy0", "10.5.5.5/24")?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        // The device that hears may be concealed itself: the flag is the owner's.
        host.conceal("eth0", way)?;
        wire.answered(who_has(ELSEWHERE))?;
        wire.silent(who_has(VIP))?;
        host.reveal("lo", way)?;
        host.reveal("eth0", way)?;
    }
    Ok(())
}

/// Two owners, in each order in which they can come and go.
fn row06_any_visible_owner_wins(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.ip("addr del 10.0.0.100/32 dev lo")?;
    host.ip("link add dummy0 up type dummy")?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        for (first, second) in [("lo", "dummy0"), ("dummy0", "lo")] {
            host.ip(&format!("addr add 10.0.0.100/32 dev {first}"))?;
            host.ip(&format!("addr add 10.0.0.100/32 dev {second}"))?;
            wire.answered(who_has(VIP))?;
            host.conceal("dummy0", way)?;
            wire.silent(who_has(VIP))?;
            host.reveal("dummy0", way)?;
            wire.answered(who_has(VIP))?;
            host.ip("addr del 10.0.0.100/32 dev dummy0")?;
            wire.silent(who_has(VIP))?;
            host.ip("addr del 10.0.0.100/32 dev lo")?;
            wire.silent(who_has(VIP))?;
        }
        host.reveal("lo", way)?;
    }
    Ok(())
}

/// The VIP is on hidden lo always, and on eth0 too while this node is the master.
fn row06_keepalived(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        for _ in 0..3 {
            wire.silent(who_has(VIP))?;
            host.ip("addr add 10.0.0.100/32 dev eth0")?;
            wire.answered(who_has(VIP))?;
            let announced = announces(&host, &wire, VIP)?;
            ensure!(announced == VIP, "the master may announce the VIP");
            host.ip("addr del 10.0.0.100/32 dev eth0")?;
        }
        host.reveal("lo", way)?;
    }
    Ok(())
}

/// One address, concealed in one l3 domain and visible in another.
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

fn row07_requester_not_learnt(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    let learnt = || Ok::<_, anyhow::Error>(host.ip("neigh show dev eth0")?.contains("10.0.0.2 "));
    for way in Way::ALL {
        wire.answered(who_has(VIP))?;
        ensure!(learnt()?, "an answered requester is learnt");
        host.ip("neigh flush dev eth0")?;
        host.conceal("lo", way)?;
        wire.silent(who_has(VIP))?;
        ensure!(!learnt()?, "{way:?}: the requester is learnt");
        host.reveal("lo", way)?;
    }
    Ok(())
}
