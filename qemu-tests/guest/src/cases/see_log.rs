// SPDX-License-Identifier: GPL-2.0

//! The module's log messages, modinfo, and the session in the documentation.

use crate::{
    lab::{
        case::cases,
        kernel_log::{mark, said},
        module::load,
        real_server::{real_server, NEIGHBOUR, VIP},
        table::shows,
        Lab, Way,
    },
    wire::who_has,
};
use anyhow::{bail, ensure, Context, Result};
use std::fs;

cases![see_log: alone, see_modinfo, see_session: alone];

fn see_log(lab: &mut Lab) -> Result<()> {
    // One line when it is loaded, and none in normal operation.
    lab.run("rmmod arp_hidden")?;
    let start = mark("see_log: loaded")?;
    load()?;
    let (host, neighbour, wire) = real_server(lab)?;
    // The neighbour has the director's hardware address for the VIP. It would ask for it, and be counted below, to refuse
    // the datagram from the VIP.
    neighbour.ip("neigh add 10.0.0.100 lladdr 02:00:00:00:00:64 dev eth0")?;
    host.conceal("lo", Way::Hidden)?;
    wire.silent(who_has(VIP))?;
    host.say(VIP, NEIGHBOUR)?;
    host.reveal("lo", Way::Hidden)?;
    host.ip("addr add 10.8.0.0/28 dev lo")?;
    host.conceal("lo", Way::Hidden)?;
    let version = fs::read_to_string("/sys/module/arp_hidden/version")?;
    let begins = format!(
        "version {}: net.ipv4.conf.*.hidden and .arp_invisible; source selection on; kernel crate of ",
        version.trim()
    );
    let lines = said(&start)?;
    let [line] = &lines[..] else {
        bail!("{lines:#?}");
    };
    ensure!(line.starts_with(&begins), "{line}");
    let line = line.clone();

    // A VIP with the mask of its network is reported once for each device, however it comes about.
    let wide = |device| {
        format!("{device}: concealed 10.0.0.100/24 routes the network of eth0 too, with 10.0.0.100 as the source: should it be /32?")
    };
    let start = mark("see_log: an address of a concealed device")?;
    host.ip("addr add 10.0.0.100/24 dev lo")?;
    let lines = said(&start)?;
    ensure!(lines == [wide("lo")], "{lines:#?}");
    host.ip("addr del 10.0.0.100/24 dev lo")?;
    host.ip("addr add 10.0.0.100/24 dev lo")?;
    let lines = said(&start)?;
    ensure!(lines == [wide("lo")], "{lines:#?}");
    let start = mark("see_log: a device that becomes concealed")?;
    host.ip("link add dummy0 type dummy")?;
    host.ip("addr add 10.0.0.100/24 dev dummy0")?;
    ensure!(said(&start)?.is_empty());
    host.conf("dummy0", "hidden", 1)?;
    let lines = said(&start)?;
    ensure!(lines == [wide("dummy0")], "{lines:#?}");
    let start = mark("see_log: an address of a visible device")?;
    host.ip("link add dummy1 type dummy")?;
    host.conf("dummy1", "arp_invisible", 1)?;
    host.conf("all", "arp_invisible", 1)?;
    host.ip("addr del 10.0.0.1/24 dev eth0")?;
    host.ip("addr add 10.0.0.100/24 dev dummy1")?;
    ensure!(said(&start)?.is_empty());
    host.ip("addr add 10.0.0.1/24 dev eth0")?;
    let lines = said(&start)?;
    ensure!(lines == [wide("dummy1")], "{lines:#?}");

    // Source selection switched off by parameter.
    lab.run("rmmod arp_hidden")?;
    let start = mark("see_log: source_selection=0")?;
    lab.run("insmod /arp_hidden.ko source_selection=0")?;
    host.ip("addr del 10.0.0.100/24 dev lo")?;
    host.ip("link del dummy0")?;
    host.ip("link del dummy1")?;
    host.conceal("lo", Way::Invisible)?;
    let line = line.replace("selection on", "selection off, by parameter");
    let lines = said(&start)?;
    ensure!(lines == [line.clone()], "{lines:#?}");
    host.conceal("lo", Way::Hidden)?;
    host.reveal("lo", Way::Hidden)?;
    host.conceal("lo", Way::Strict)?;
    shows(&host, &["lo 2 2 1 1 2 0 0 0 0 0 source_selection=0"])?;
    let off = "source_selection=0: hidden addresses may still be selected as source addresses";
    let lines = said(&start)?;
    ensure!(lines == [line, off.to_owned()], "{lines:#?}");
    lab.run("rmmod arp_hidden")?;
    Ok(())
}

fn see_modinfo(lab: &mut Lab) -> Result<()> {
    for field in [
        "description",
        "author",
        "version",
        "license",
        "srcversion",
        "vermagic",
    ] {
        let value = lab.run(&format!("modinfo -F {field} /arp_hidden.ko"))?;
        ensure!(!value.trim().is_empty(), "no {field}");
    }
    let parameters = lab.run("modinfo -p /arp_hidden.ko")?;
    ensure!(
        parameters.starts_with("source_selection:Keep hidden addresses"),
        "{parameters}"
    );
    Ok(())
}

/// The commands of the session in `Documentation/arp_hidden.rst` print what it shows.
fn see_session(lab: &mut Lab) -> Result<()> {
    const DOCUMENT: &str = include_str!("../../../../Documentation/arp_hidden.rst");
    let (rs1, client) = (lab.host("rs1")?, lab.host("client")?);
    lab.wire((&rs1, "eth0"), (&client, "eth0"), NEIGHBOUR)?;
    rs1.ip("addr add 10.0.0.1/24 dev eth0")?;
    rs1.ip("addr add 10.0.0.100/32 dev lo")?;
    client.ip("addr add 10.0.0.2/24 dev eth0")?;
    // The client is the router too, and has the director's hardware address for the VIP.
    client.ip("addr add 10.0.0.254/24 dev eth0")?;
    client.ip("neigh replace 10.0.0.100 lladdr 02:00:00:00:00:64 dev eth0")?;
    fs::write("/sys/kernel/tracing/trace", "")?;
    let (_, documented) = DOCUMENT.split_once("A VIP that wanders").context("gone")?;
    let (mut document, mut session) = (String::new(), String::new());
    for line in documented
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
    {
        document += &format!("{line}\n");
        for host in [&rs1, &client] {
            if let Some(command) = line.strip_prefix(&format!("{host}# ")) {
                session += &format!("{line}\n{}", host.try_run(command)?.1);
            }
        }
    }
    ensure!(
        document
            .lines()
            .map(timeless)
            .eq(session.lines().map(timeless)),
        "the session prints:\n{session}"
    );
    Ok(())
}

/// Replaces what differs each time in a line: the time of a reply, the number of a namespace.
fn timeless(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        if word.ends_with("ms") || word.starts_with("net=") {
            "..."
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
