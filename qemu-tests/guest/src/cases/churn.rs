// SPDX-License-Identifier: GPL-2.0

//! Everything at once: the module, its flags, devices, addresses and namespaces come and go on several processors under a
//! flood.

use crate::{
    lab::{
        case::cases,
        chance::pick,
        flood::Flood,
        module::{self, load, unload, Module},
        real_server::{real_server, HOST, VIP},
        workers::Workers,
        Lab, Way,
    },
    netlink::{Netlink, Request},
    wire::who_has,
};
use anyhow::{bail, ensure, Result};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sched::{unshare, CloneFlags},
};
use std::{
    fs, io,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

cases![
    churn_of_everything: alone,
    long_churn_of_everything: alone,
    long_load_and_unload_1000_times_under_flood: alone,
];

/// Ignores a missing file: the module may just be unloaded.
fn gone_is_fine(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(Into::into),
    }
}

fn everything(lab: &mut Lab, time: Duration) -> Result<()> {
    let (host, neighbour, wire) = real_server(lab)?;
    let other = lab.host("other")?;
    let second = lab.wire(
        (&host, "eth1"),
        (&other, "eth0"),
        Ipv4Addr::new(10, 1, 0, 2),
    )?;
    host.ip("addr add 10.1.0.1/24 dev eth1")?;
    let floods = [
        Flood::start(&neighbour, "eth0", &wire)?,
        Flood::start(&other, "eth0", &second)?,
    ];
    let mut workers = Workers::new();
    let module = Module::open()?;
    workers.start("loads", &host, move |_| {
        match module::remove() {
            // The module is in use.
            Ok(()) | Err(Errno::EAGAIN) => {}
            Err(error) => bail!("rmmod: {error}"),
        }
        match module.insert() {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(error) => bail!("insmod: {error}"),
        }
    })?;
    for name in ["writes", "more writes"] {
        workers.start(name, &host, |rng| {
            const DIRECTORIES: [&str; 6] = ["all", "default", "lo", "eth0", "eth1", "dummy0"];
            let directory = pick(rng, &DIRECTORIES);
            let knobs = [("hidden", rng.u8(..3)), ("arp_invisible", rng.u8(..2))];
            let (knob, value) = pick(rng, &knobs);
            gone_is_fine(fs::write(
                format!("/proc/sys/net/ipv4/conf/{directory}/{knob}"),
                value.to_string(),
            ))
        })?;
    }
    workers.start("reads", &host, |_| {
        match fs::read_to_string("/proc/thread-self/net/arp_hidden") {
            // The module was unloaded while the file was open.
            Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => Ok(()),
            result => gone_is_fine(result.map(drop)),
        }
    })?;
    let netlink = host.enter(Netlink::open)??;
    workers.start("devices", &host, move |_| {
        for request in [Request::add_dummy("dummy0"), Request::delete_link("dummy0")] {
            netlink.send(&request)?;
            netlink.outcome()?;
        }
        Ok(())
    })?;
    let (netlink, lo) = host.enter(|| (Netlink::open(), if_nametoindex("lo")))?;
    let (netlink, lo) = (netlink?, lo?);
    workers.start("addresses", &host, move |rng| {
        let addr = Ipv4Addr::new(10, 0, 0, 101 + rng.u8(..16));
        for request in [
            Request::add_address(lo, addr),
            Request::delete_address(lo, addr),
        ] {
            netlink.send(&request)?;
            netlink.outcome()?;
        }
        Ok(())
    })?;
    workers.start("namespaces", &host, |_| {
        Ok(unshare(CloneFlags::CLONE_NEWNET)?)
    })?;
    thread::sleep(time);
    let counts = workers.end()?;
    let mut requests = 0;
    for flood in floods {
        requests += flood.sent();
        flood.end()?;
    }
    for (name, count) in &counts {
        ensure!(*count > 0, "no {name}");
    }
    // Afterwards, everything works.
    load()?;
    for directory in ["all", "default", "lo", "eth0", "eth1"] {
        host.conf(directory, "hidden", 0)?;
        host.conf(directory, "arp_invisible", 0)?;
    }
    wire.answered(who_has(VIP))?;
    host.conceal("lo", Way::Strict)?;
    wire.silent(who_has(VIP).unicast())?;
    wire.answered(who_has(HOST))?;
    let counts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    lab.note = Some(format!("{requests} requests, {}", counts.join(", ")));
    Ok(())
}

fn churn_of_everything(lab: &mut Lab) -> Result<()> {
    everything(lab, Duration::from_secs(60))
}

fn long_churn_of_everything(lab: &mut Lab) -> Result<()> {
    everything(lab, Duration::from_secs(600))
}

fn long_load_and_unload_1000_times_under_flood(lab: &mut Lab) -> Result<()> {
    let (host, neighbour, wire) = real_server(lab)?;
    let flood = Flood::start(&neighbour, "eth0", &wire)?;
    let start = Instant::now();
    for round in 0..1000 {
        load()?;
        host.conceal("lo", Way::ALL[round % 3])?;
        unload()?;
    }
    let seconds = start.elapsed().as_secs();
    let requests = flood.sent();
    flood.end()?;
    wire.answered(who_has(VIP))?;
    load()?;
    host.conceal("lo", Way::Hidden)?;
    wire.silent(who_has(VIP))?;
    lab.note = Some(format!("{seconds} s, {requests} requests"));
    Ok(())
}
