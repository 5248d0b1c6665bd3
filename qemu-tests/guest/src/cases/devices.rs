// SPDX-License-Identifier: GPL-2.0

//! The knobs through the life of a device: rows 25 to 28.

use crate::{
    lab::{
        case::cases,
        real_server::{real_server, HOST, VIP},
        Host, Lab, Way,
    },
    wire::who_has,
};
use anyhow::{ensure, Result};
use std::path::Path;

cases![
    row25_down_and_up,
    row25_rename,
    row25_move,
    row25_mtu_below_68,
    row25_gone,
    row26_label,
    row27_device_types,
    row28_ipv6,
];

fn exists(host: &Host, device: &str) -> Result<bool> {
    host.enter(|| Path::new(&format!("/proc/sys/net/ipv4/conf/{device}/hidden")).exists())
}

fn row25_down_and_up(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.ip("link add dummy0 up type dummy")?;
    host.ip("addr del 10.0.0.100/32 dev lo")?;
    for way in Way::ALL {
        host.conceal("dummy0", way)?;
        for steps in [
            &["link set dummy0 down", "link set dummy0 up"][..],
            &["addr flush dev dummy0"],
        ] {
            host.ip("addr add 10.0.0.100/32 dev dummy0")?;
            for step in steps {
                host.ip(step)?;
            }
            host.ip("addr replace 10.0.0.100/32 dev dummy0")?;
            wire.silent(who_has(VIP))?;
            host.ip("addr flush dev dummy0")?;
        }
        host.reveal("dummy0", way)?;
        host.ip("addr add 10.0.0.100/32 dev dummy0")?;
        wire.answered(who_has(VIP))?;
        host.ip("addr flush dev dummy0")?;
    }
    Ok(())
}

fn row25_rename(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.ip("link add dummy0 up type dummy")?;
    host.ip("addr del 10.0.0.100/32 dev lo")?;
    host.ip("addr add 10.0.0.100/32 dev dummy0")?;
    host.conceal("dummy0", Way::Strict)?;
    host.rename("dummy0", "vips")?;
    ensure!(
        !exists(&host, "dummy0")? && exists(&host, "vips")?,
        "the files do not follow the name"
    );
    ensure!(
        host.get("net/ipv4/conf/vips/hidden")? == 2,
        "the value is lost"
    );
    wire.silent(who_has(VIP).unicast())?;
    // Two devices swap their names.
    host.ip("link add dummy0 up type dummy")?;
    host.rename("dummy0", "x")?;
    host.rename("vips", "dummy0")?;
    host.rename("x", "vips")?;
    ensure!(
        host.get("net/ipv4/conf/dummy0/hidden")? == 2,
        "the value is lost"
    );
    ensure!(
        host.get("net/ipv4/conf/vips/hidden")? == 0,
        "the value has moved"
    );
    wire.silent(who_has(VIP).unicast())?;
    host.reveal("dummy0", Way::Strict)?;
    wire.answered(who_has(VIP))
}

/// A device that moves to another namespace gets the values of that namespace's `default`.
fn row25_move(lab: &mut Lab) -> Result<()> {
    let (host, neighbour, wire) = real_server(lab)?;
    host.ip("link add dummy0 up type dummy")?;
    host.ip("addr del 10.0.0.100/32 dev lo")?;
    for way in Way::ALL {
        host.conceal("dummy0", way)?;
        host.ip("link set dummy0 netns neighbour")?;
        ensure!(!exists(&host, "dummy0")?, "its files stay behind");
        let file = format!("net/ipv4/conf/dummy0/{}", way.knob());
        ensure!(neighbour.get(&file)? == 0, "{way:?} has moved along");
        neighbour.conf("dummy0", way.knob(), 1)?;
        neighbour.ip("link set dummy0 netns host")?;
        ensure!(!exists(&neighbour, "dummy0")?, "its files stay behind");
        ensure!(host.get(&file)? == 0, "{way:?} has moved back");
        host.conf("default", way.knob(), 1)?;
        host.ip("link set dummy0 netns neighbour")?;
        neighbour.ip("link set dummy0 netns host")?;
        ensure!(host.get(&file)? == 1, "{way:?}: default is not taken");
        host.ip("link set dummy0 up")?;
        host.ip("addr add 10.0.0.100/32 dev dummy0")?;
        wire.silent(who_has(VIP))?;
        host.conf("default", way.knob(), 0)?;
        host.conf("dummy0", way.knob(), 0)?;
        wire.answered(who_has(VIP))?;
        host.ip("addr flush dev dummy0")?;
    }
    Ok(())
}

/// With an MTU below 68 bytes, a device has no IPv4. Its knobs disappear and come back reset, as the kernel's own do.
fn row25_mtu_below_68(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.ip("link add dummy0 up type dummy")?;
    host.ip("addr del 10.0.0.100/32 dev lo")?;
    for way in Way::ALL {
        host.conceal("dummy0", way)?;
        host.conf("dummy0", "arp_ignore", 1)?;
        host.ip("link set dummy0 mtu 60")?;
        ensure!(!exists(&host, "dummy0")?, "its files stay behind");
        host.ip("link set dummy0 mtu 1500")?;
        let value = |knob: &str| host.get(&format!("net/ipv4/conf/dummy0/{knob}"));
        ensure!(
            value(way.knob())? == value("arp_ignore")?,
            "the kernel's own knob has another value"
        );
        host.ip("addr add 10.0.0.100/32 dev dummy0")?;
        wire.answered(who_has(VIP))?;
        host.conceal("dummy0", way)?;
        wire.silent(who_has(VIP))?;
        host.ip("addr flush dev dummy0")?;
        host.reveal("dummy0", way)?;
    }
    Ok(())
}

fn row25_gone(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for way in Way::ALL {
        host.dummy("dummy0", "10.9.9.9/32")?;
        host.conceal("dummy0", way)?;
        host.ip("link del dummy0")?;
        ensure!(!exists(&host, "dummy0")?, "its files stay behind");
        host.ip("link add dummy0 up type dummy")?;
        ensure!(
            host.get(&format!("net/ipv4/conf/dummy0/{}", way.knob()))? == 0,
            "a new device has an old value"
        );
        host.ip("link del dummy0")?;
        wire.answered(who_has(VIP))?;
    }
    Ok(())
}

/// eth0:1 is only a label: hiding eth0 hides all of its addresses.
fn row26_label(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    let other = lab.host("other")?;
    let second = lab.wire(
        (&host, "eth1"),
        (&other, "eth0"),
        std::net::Ipv4Addr::new(10, 1, 0, 2),
    )?;
    host.ip("addr add 10.1.0.1/24 dev eth1")?;
    host.ip("addr add 10.0.0.101/24 dev eth0 label eth0:1")?;
    let labelled = std::net::Ipv4Addr::new(10, 0, 0, 101);
    for way in Way::ALL {
        second.answered(who_has(labelled))?;
        host.conceal("eth0", way)?;
        second.silent(who_has(labelled))?;
        second.silent(who_has(HOST))?;
        wire.answered(who_has(labelled))?;
        host.reveal("eth0", way)?;
    }
    ensure!(!exists(&host, "eth0:1")?, "a label has files");
    Ok(())
}

/// The owner may be a device of any type, with or without ARP.
fn row27_device_types(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.ip("addr del 10.0.0.100/32 dev lo")?;
    host.ip("link add veth3 up type veth peer name veth4")?;
    for (device, make) in [
        ("dummy0", "link add dummy0 type dummy"),
        ("dummy1", "link add dummy1 arp off type dummy"),
        (
            "tunl1",
            "link add tunl1 type ipip local 10.0.0.1 remote 10.0.0.2",
        ),
        ("br1", "link add br1 type bridge"),
        ("bond1", "link add bond1 type bond"),
        ("veth1", "link add veth1 type veth peer name veth2"),
        ("mac1", "link add mac1 link veth3 type macvlan"),
        ("eth0.9", "link add eth0.9 link eth0 type vlan id 9"),
    ] {
        host.ip(make)?;
        host.ip(&format!("link set {device} up"))?;
        host.ip(&format!("addr add 10.0.0.100/32 dev {device}"))?;
        for way in Way::ALL {
            wire.answered(who_has(VIP))?;
            host.conceal(device, way)?;
            wire.silent(who_has(VIP))?;
            host.reveal(device, way)?;
        }
        host.ip(&format!("link del {device}"))?;
    }
    Ok(())
}

/// Neighbour discovery replies for the receiving device's addresses, hidden or not, and only for these.
fn row28_ipv6(lab: &mut Lab) -> Result<()> {
    let (host, neighbour, _) = real_server(lab)?;
    for host in [&host, &neighbour] {
        host.set("net/ipv6/conf/all/disable_ipv6", 0)?;
        host.set("net/ipv6/conf/eth0/disable_ipv6", 0)?;
    }
    host.ip("-6 addr add fd00::1/64 dev eth0 nodad")?;
    neighbour.ip("-6 addr add fd00::2/64 dev eth0 nodad")?;
    for way in Way::ALL {
        host.conceal("eth0", way)?;
        host.conceal("lo", way)?;
        neighbour.ip("-6 neigh flush dev eth0")?;
        neighbour.run("ping -6 -c 1 -W 5 fd00::1")?;
        host.reveal("eth0", way)?;
        host.reveal("lo", way)?;
    }
    Ok(())
}
