// SPDX-License-Identifier: GPL-2.0

//! The knobs: rows 21 to 29.

use crate::{
    lab::{
        case::cases,
        real_server::{real_server, HOST, VIP},
        Host, Lab, Way,
    },
    wire::who_has,
};
use anyhow::{ensure, Result};
use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::Command,
};

cases![
    row21_files,
    row21_namespaces,
    row21_user_namespace,
    row22_values,
    row23_default,
    row24_new_namespace,
    row25_down_and_up,
    row25_rename,
    row25_move,
    row25_mtu_below_68,
    row25_gone,
    row26_label,
    row27_device_types,
    row28_ipv6,
];

/// A knob of the kernel's that no other case uses: that the first namespace's `default` of it was written once is
/// inherited, and keeps later writes to `default` from devices for as long as the machine runs.
const KERNELS: &str = "drop_gratuitous_arp";

const KNOBS: [&str; 2] = ["hidden", "arp_invisible"];

fn exists(host: &Host, device: &str) -> Result<bool> {
    host.enter(|| Path::new(&format!("/proc/sys/net/ipv4/conf/{device}/hidden")).exists())
}

fn row21_files(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = real_server(lab)?;
    for directory in ["all", "default", "lo", "eth0"] {
        for knob in KNOBS {
            let file = |knob| format!("/proc/sys/net/ipv4/conf/{directory}/{knob}");
            let (ours, kernels) =
                host.enter(|| (fs::metadata(file(knob)), fs::metadata(file("arp_ignore"))))?;
            let (ours, kernels) = (ours?, kernels?);
            ensure!(
                ours.mode() & 0o7777 == 0o644,
                "{directory}/{knob}: mode {:o}",
                ours.mode()
            );
            ensure!(
                (ours.uid(), ours.gid()) == (kernels.uid(), kernels.gid()),
                "{directory}/{knob}: another owner"
            );
            ensure!(
                host.get(&format!("net/ipv4/conf/{directory}/{knob}"))? == 0,
                "{directory}/{knob}: not 0"
            );
        }
    }
    Ok(())
}

fn row21_namespaces(lab: &mut Lab) -> Result<()> {
    let (host, neighbour, wire) = real_server(lab)?;
    for way in Way::ALL {
        neighbour.conceal("lo", way)?;
        neighbour.conceal("eth0", way)?;
        wire.answered(who_has(VIP))?;
        host.conceal("lo", way)?;
        wire.silent(who_has(VIP))?;
        neighbour.reveal("lo", way)?;
        neighbour.conf("all", way.knob(), 0)?;
        wire.silent(who_has(VIP))?;
        ensure!(
            host.get(&format!("net/ipv4/conf/all/{}", way.knob()))? == 1,
            "{way:?}"
        );
        host.reveal("lo", way)?;
    }
    Ok(())
}

/// Root of a user namespace may write the knobs of its own network namespace, and no other: as with arp_ignore.
fn row21_user_namespace(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = real_server(lab)?;
    let own = "unshare --user --map-root-user --net sh -c";
    for knob in KNOBS {
        lab.run(&format!("{own} 'echo 1 >/proc/sys/net/ipv4/conf/all/{knob} && echo 1 >/proc/sys/net/ipv4/conf/lo/{knob} && grep 1 /proc/sys/net/ipv4/conf/lo/{knob}'"))?;
        ensure!(
            host.get(&format!("net/ipv4/conf/all/{knob}"))? == 0,
            "another namespace's {knob} has changed"
        );
    }
    // In a network namespace of another user's, ours and the kernel's give the same error to a stranger who is
    // root at home.
    let theirs = |knob| {
        let file = format!("/proc/sys/net/ipv4/conf/all/{knob}");
        let output = host.enter(|| {
            Command::new("unshare")
                .args(["--user", "--map-root-user", "sh", "-c"])
                .arg(format!("echo 1 >{file}"))
                .uid(65534)
                .gid(65534)
                .output()
        })??;
        Ok::<String, anyhow::Error>(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let kernels = theirs("arp_ignore")?;
    ensure!(
        kernels.contains("Permission denied"),
        "arp_ignore: {kernels}"
    );
    for knob in KNOBS {
        let ours = theirs(knob)?;
        ensure!(
            ours == kernels.replace("arp_ignore", knob),
            "{knob}: {ours}"
        );
    }
    Ok(())
}

fn row22_values(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for (knob, max) in [("hidden", 2), ("arp_invisible", 1)] {
        for directory in ["all", "default", "lo", "eth0"] {
            let file = format!("net/ipv4/conf/{directory}/{knob}");
            for value in 0..=max {
                host.set(&file, value)?;
                ensure!(host.get(&file)? == value, "{file}: {value} is not there");
                for wrong in [
                    &(max + 1).to_string(),
                    "-1",
                    "2147483648",
                    "99999999999999999999",
                    "x",
                    "1x",
                ] {
                    let error = host
                        .write(&file, wrong)
                        .err()
                        .and_then(|error| error.raw_os_error());
                    ensure!(
                        error == Some(nix::libc::EINVAL),
                        "{file}: '{wrong}' gives {error:?}"
                    );
                    ensure!(
                        host.get(&file)? == value,
                        "{file}: '{wrong}' has changed it"
                    );
                }
            }
            host.set(&file, 0)?;
        }
    }
    // In `all`, any non-zero enables; the device's value counts.
    host.conf("lo", "hidden", 1)?;
    host.conf("all", "hidden", 2)?;
    wire.silent(who_has(VIP))?;
    wire.answered(who_has(VIP).unicast())?;
    host.conf("lo", "hidden", 2)?;
    host.conf("all", "hidden", 1)?;
    wire.silent(who_has(VIP).unicast())
}

/// `default` reaches new devices, and those never written by hand, lo among them. (The kernel's own knobs count
/// lo as written when it comes up, and a new device when `default` was: that is no wish of the operator's.)
fn row23_default(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    let value = |device: &str, knob: &str| host.get(&format!("net/ipv4/conf/{device}/{knob}"));
    for knob in KNOBS {
        host.conf("eth0", knob, 0)?;
        host.conf("default", knob, 1)?;
        ensure!(
            value("eth0", knob)? == 0,
            "{knob}: eth0 was written by hand"
        );
        ensure!(value("lo", knob)? == 1, "{knob}: lo was not");
        host.ip("link add dummy0 up type dummy")?;
        ensure!(
            value("dummy0", knob)? == 1,
            "{knob}: a new device does not take default"
        );
        host.conf("default", knob, 0)?;
        ensure!(
            value("dummy0", knob)? == 0,
            "{knob}: default does not reach a device never written"
        );
        host.conf("dummy0", knob, 1)?;
        host.conf("default", knob, 1)?;
        host.conf("default", knob, 0)?;
        ensure!(
            value("dummy0", knob)? == 1,
            "{knob}: default reaches a device written by hand"
        );
        host.ip("link del dummy0")?;
    }
    // And what default sets is in force.
    host.ip("link add dummy0 up type dummy")?;
    host.ip("addr del 10.0.0.100/32 dev lo")?;
    host.ip("addr add 10.0.0.100/32 dev dummy0")?;
    for way in Way::ALL {
        host.conf("all", way.knob(), 1)?;
        wire.answered(who_has(VIP))?;
        host.conf("default", way.knob(), 1)?;
        wire.silent(who_has(VIP))?;
        host.conf("default", way.knob(), 0)?;
        wire.answered(who_has(VIP))?;
    }
    Ok(())
}

/// net.core.devconf_inherit_init_net: 0 and 1 inherit from the first namespace, 2 nothing, 3 from the maker's.
fn row24_new_namespace(lab: &mut Lab) -> Result<()> {
    let set = |file: &str, value: &str| fs::write(format!("/proc/sys/net/{file}"), value);
    let before = fs::read_to_string("/proc/sys/net/core/devconf_inherit_init_net")?;
    let (host, _, _) = real_server(lab)?;
    let check = || {
        for knob in ["hidden", "arp_invisible", KERNELS] {
            set(&format!("ipv4/conf/all/{knob}"), "1")?;
            set(&format!("ipv4/conf/default/{knob}"), "1")?;
            host.conf("default", knob, 0)?;
            for (inherit, all, default, loopback) in [
                ("0", 1, 1, 1),
                ("1", 1, 1, 1),
                ("2", 0, 0, 0),
                ("3", 0, 0, 0),
            ] {
                set("core/devconf_inherit_init_net", inherit)?;
                let text = host.run(&format!("unshare --net sh -c 'cd /proc/sys/net/ipv4/conf; cat all/{knob} default/{knob} lo/{knob}'"))?;
                ensure!(
                    text == format!("{all}\n{default}\n{loopback}\n"),
                    "{knob}, devconf_inherit_init_net={inherit}: {text}"
                );
            }
            set(&format!("ipv4/conf/all/{knob}"), "0")?;
            set(&format!("ipv4/conf/default/{knob}"), "0")?;
        }
        Ok(())
    };
    let result = check();
    for knob in ["hidden", "arp_invisible", KERNELS] {
        set(&format!("ipv4/conf/all/{knob}"), "0")?;
        set(&format!("ipv4/conf/default/{knob}"), "0")?;
        set(&format!("ipv4/conf/lo/{knob}"), "0")?;
    }
    set("core/devconf_inherit_init_net", before.trim())?;
    result
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
    host.ip("link set dummy0 name vips")?;
    ensure!(
        !exists(&host, "dummy0")? && exists(&host, "vips")?,
        "the files do not follow the name"
    );
    ensure!(
        host.get("net/ipv4/conf/vips/hidden")? == 2,
        "the value is lost"
    );
    wire.silent(who_has(VIP).unicast())?;
    // Two devices that swap their names.
    host.ip("link add dummy0 up type dummy")?;
    host.ip("link set dummy0 name x")?;
    host.ip("link set vips name dummy0")?;
    host.ip("link set x name vips")?;
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

/// Moved to another namespace, a device takes that one's `default`.
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
        wire.answered(who_has(VIP))?;
        host.ip("addr flush dev dummy0")?;
    }
    Ok(())
}

/// Below 68 bytes a device has no IPv4; its knobs go and come anew, as the kernel's own.
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
        host.ip("link add dummy0 up type dummy")?;
        host.ip("addr add 10.9.9.9/32 dev dummy0")?;
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

/// eth0:1 is a label: hiding eth0 means all of its addresses.
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

/// The owner may be of any type, with or without ARP of its own.
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

/// Neighbour discovery answers for the receiving device's addresses, hidden or not, and for no other's.
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
