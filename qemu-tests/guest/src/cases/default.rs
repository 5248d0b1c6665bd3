// SPDX-License-Identifier: GPL-2.0

//! Which devices a write to `conf/default` reaches: row 23.

use crate::{
    lab::{
        case::cases,
        inheritance::{inherit, Inherit},
        module::load,
        real_server::{bare, real_server, VIP},
        Host, Lab, Way,
    },
    wire::who_has,
};
use anyhow::{ensure, Result};

cases![
    row23_default: alone,
    row23_default_in_force: alone,
    row23_as_arp_ignore: alone,
    row23_moved_and_inherited: alone,
    row23_module_loaded_later: alone,
];

/// Our knobs, and one of the kernel's own to compare with.
const KNOBS: [&str; 3] = ["hidden", "arp_invisible", "arp_ignore"];
const NONE: [&str; 0] = [];

/// On a running server, `default` applies to devices that are added later, not to existing ones.
fn row23_default(lab: &mut Lab) -> Result<()> {
    let _before = inherit(Inherit::Nothing)?;
    let (host, _, wire) = real_server(lab)?;
    for way in Way::ALL {
        host.conf("all", way.knob(), 1)?;
        host.conf("default", way.knob(), 1)?;
        // The VIP is on lo, which is up.
        wire.answered(who_has(VIP))?;
        host.ip("addr del 10.0.0.100/32 dev lo")?;
        host.dummy("dummy0", "10.0.0.100/32")?;
        wire.silent(who_has(VIP))?;
        host.conf("default", way.knob(), 0)?;
        wire.silent(who_has(VIP))?;
        host.ip("link del dummy0")?;
        host.dummy("dummy0", "10.0.0.100/32")?;
        wire.answered(who_has(VIP))?;
        host.ip("link del dummy0")?;
        host.ip("addr add 10.0.0.100/32 dev lo")?;
    }
    Ok(())
}

/// A write to `default` takes effect at once on devices that it reaches. A device with an address is out of reach, one
/// with a local route is not.
fn row23_default_in_force(lab: &mut Lab) -> Result<()> {
    let _before = inherit(Inherit::Nothing)?;
    let (host, _, wire) = bare(lab)?;
    host.ip("link add dummy0 up type dummy")?;
    host.ip("route add local 10.0.0.100 dev dummy0")?;
    for way in Way::ALL {
        host.conf("all", way.knob(), 1)?;
        wire.answered(who_has(VIP))?;
        host.conf("default", way.knob(), 1)?;
        wire.silent(who_has(VIP))?;
        host.conf("default", way.knob(), 0)?;
    }
    wire.answered(who_has(VIP))
}

/// Writes each knob in `default`. Returns the knobs for which that changes the device's value.
fn reached(host: &Host, device: &str) -> Result<Vec<&'static str>> {
    let mut reached = Vec::new();
    for knob in KNOBS {
        let file = format!("net/ipv4/conf/{device}/{knob}");
        let before = host.get(&file)?;
        host.conf("default", knob, 1 - before)?;
        if host.get(&file)? != before {
            reached.push(knob);
        }
    }
    Ok(reached)
}

/// Whatever has happened to a device, `default` reaches our knobs when it reaches the kernel's.
fn row23_as_arp_ignore(lab: &mut Lab) -> Result<()> {
    let _before = inherit(Inherit::Nothing)?;
    let given = "ip addr add 10.5.5.5/24 dev dummy0";
    let events: &[(&str, &[&str], &[&str])] = &[
        ("nothing", &[], &KNOBS),
        ("an address", &[given], &NONE),
        (
            "an address that has gone",
            &[given, "ip addr flush dev dummy0"],
            &NONE,
        ),
        (
            "an address by ioctl",
            &["busybox ifconfig dummy0 10.5.5.5"],
            &NONE,
        ),
        (
            "down, up and another name",
            &[
                "ip link set dummy0 up",
                "ip link set dummy0 down",
                "ip link set dummy0 name x",
                "ip link set x name dummy0",
            ],
            &KNOBS,
        ),
        (
            "a route",
            &["ip link set dummy0 up", "ip route add local 10.5.5.5 dev dummy0"],
            &KNOBS,
        ),
        (
            "hidden by hand",
            &["sysctl -w net.ipv4.conf.dummy0.hidden=0"],
            &["arp_invisible", "arp_ignore"],
        ),
        (
            "arp_invisible by hand",
            &["sysctl -w net.ipv4.conf.dummy0.arp_invisible=0"],
            &["hidden", "arp_ignore"],
        ),
        (
            "arp_ignore by hand",
            &["sysctl -w net.ipv4.conf.dummy0.arp_ignore=0"],
            &["hidden", "arp_invisible"],
        ),
        (
            "all by hand",
            &["sysctl -w net.ipv4.conf.all.hidden=1 net.ipv4.conf.all.arp_ignore=0"],
            &KNOBS,
        ),
        (
            "written before it was created",
            &[
                "sysctl -w net.ipv4.conf.default.hidden=0 net.ipv4.conf.default.arp_invisible=0 net.ipv4.conf.default.arp_ignore=0",
                "ip link del dummy0",
                "ip link add dummy0 type dummy",
            ],
            &NONE,
        ),
        (
            "a refused value",
            &["! sysctl -w net.ipv4.conf.dummy0.hidden=3 net.ipv4.conf.default.arp_invisible=2"],
            &KNOBS,
        ),
        (
            "too small an MTU for IPv4, for a while",
            &[given, "ip link set dummy0 mtu 67", "ip link set dummy0 mtu 1500"],
            &KNOBS,
        ),
    ];
    for (number, (event, steps, expected)) in events.iter().enumerate() {
        let host = lab.host(&format!("host{number}"))?;
        host.ip("link add dummy0 type dummy")?;
        for step in *steps {
            host.run(step)?;
        }
        let reached = reached(&host, "dummy0")?;
        ensure!(reached == **expected, "{event}: {reached:?}");
    }
    // lo counts as configured once it is up.
    let host = lab.host("host")?;
    ensure!(reached(&host, "lo")? == NONE, "lo is up");
    let host = lab.made_by(&host, "container")?;
    ensure!(reached(&host, "lo")? == KNOBS, "lo was never up");
    host.ip("link set lo up")?;
    ensure!(reached(&host, "lo")? == NONE, "lo has been set up");
    Ok(())
}

/// A moved device counts as new. A namespace that inherits `default` also inherits the fact that it was written.
fn row23_moved_and_inherited(lab: &mut Lab) -> Result<()> {
    let _before = inherit(Inherit::Nothing)?;
    let (written, other) = (lab.host("written")?, lab.host("other")?);
    for knob in KNOBS {
        written.conf("default", knob, 0)?;
    }
    written.dummy("dummy0", "10.5.5.5/24")?;
    ensure!(reached(&written, "dummy0")? == NONE, "it has an address");
    written.ip("link set dummy0 netns other")?;
    ensure!(reached(&other, "dummy0")? == KNOBS, "it has moved");
    let fresh = lab.host("fresh")?;
    fresh.ip("link add dummy1 type dummy")?;
    fresh.ip("link set dummy1 netns written")?;
    ensure!(reached(&written, "dummy1")? == NONE, "default was written");
    for (what, expected) in [(Inherit::FromMaker, &NONE[..]), (Inherit::Nothing, &KNOBS)] {
        let _before = inherit(what)?;
        let container = lab.made_by(&written, &format!("{what:?}"))?;
        container.ip("link add dummy0 type dummy")?;
        for device in ["lo", "dummy0"] {
            let reached = reached(&container, device)?;
            ensure!(reached == expected, "{what:?}, {device}: {reached:?}");
        }
    }
    Ok(())
}

/// The module is loaded after devices were configured.
fn row23_module_loaded_later(lab: &mut Lab) -> Result<()> {
    let _before = inherit(Inherit::Nothing)?;
    let host = lab.host("host")?;
    lab.run("rmmod arp_hidden")?;
    host.dummy("dummy0", "10.5.5.5/24")?;
    host.ip("link add dummy1 type dummy")?;
    load()?;
    for (device, expected) in [("lo", &NONE[..]), ("dummy0", &NONE), ("dummy1", &KNOBS)] {
        let reached = reached(&host, device)?;
        ensure!(reached == expected, "{device}: {reached:?}");
    }
    Ok(())
}
