// SPDX-License-Identifier: GPL-2.0

//! Hosts of a size that nobody has.

use crate::{
    lab::{
        batch::at_once,
        case::cases,
        clock::timed,
        module::{load, unload},
        real_server::real_server,
        table::table,
        Host, Lab, Way,
    },
    netlink::{Netlink, Request},
    wire::who_has,
};
use anyhow::{anyhow, ensure, Context, Result};
use nix::{
    net::if_::if_nametoindex,
    sched::{unshare, CloneFlags},
};
use std::{
    fs::{self, File},
    net::Ipv4Addr,
    thread,
    time::Duration,
};

cases![
    long_scale_addresses: alone,
    long_scale_devices: alone,
    long_scale_namespaces: alone,
];

/// What is timed on a host, in this order.
const STEPS: [&str; 6] = [
    "load",
    "first write", // or writes, to several devices
    "one more address",
    "read",
    "last write", // as the first
    "unload",
];

/// Loads the module, hides and reveals `devices` devices by writes to these directories, unloads.
fn steps(host: &Host, directories: &[&str], devices: u32) -> Result<[Duration; 6]> {
    let hide_all = |hide| -> Result<()> {
        let mut all = directories.iter();
        all.try_for_each(|directory| host.conf(directory, "hidden", hide))
    };
    let (netlink, lo) = host.enter(|| (Netlink::open(), if_nametoindex("lo")))?;
    let (netlink, lo) = (netlink?, lo?);
    let one = Ipv4Addr::new(10, 99, 0, 1);
    let request = |request: Request| {
        netlink.send(&request)?;
        netlink.outcome()
    };
    let loaded = timed(load)?;
    host.conf("all", "hidden", 1)?;
    // The first of these writes arms what all of them need, and the last one disarms it.
    let hidden = timed(|| hide_all(1))?;
    let added = timed(|| request(Request::add_address(lo, one)))?;
    request(Request::delete_address(lo, one))?;
    let mut rows = 0;
    let read = timed(|| {
        rows = table(host)?.len();
        Ok(())
    })?;
    ensure!(
        rows >= devices as usize,
        "the writes reached only {rows} devices"
    );
    let revealed = timed(|| hide_all(0))?;
    // With the flags in force, so that there is most to be undone.
    hide_all(1)?;
    let unloaded = timed(unload)?;
    Ok([loaded, hidden, added, read, revealed, unloaded])
}

/// Of some, and of `times` as many: what is linear may take three times as long as that, by chance.
fn linear(what: &str, some: [Duration; 6], times: u32, all: [Duration; 6]) -> Result<String> {
    let mut told = Vec::new();
    for ((step, some), all) in STEPS.into_iter().zip(some).zip(all) {
        told.push(format!("{step} {} ms", all.as_millis()));
        // A tenth of a second is what grace periods take on a machine that is busy.
        let most = some * times * 3 + Duration::from_millis(100);
        ensure!(
            all <= most,
            "{what}: {step} takes {all:?}, and {some:?} for 1/{times} of it"
        );
    }
    Ok(format!("{what}: {}", told.join(", ")))
}

/// On ten devices: with more on one device, the kernel's own search for the other addresses of its subnets takes
/// most of the time.
fn long_scale_addresses(lab: &mut Lab) -> Result<()> {
    const DEVICES: u32 = 10;
    let (host, _, wire) = real_server(lab)?;
    unload()?;
    let vip = |device: u32, number: u32| Ipv4Addr::from_bits(0x0a64_0000 + (device << 14) + number);
    let fill = |numbers: std::ops::Range<u32>| -> Result<()> {
        for device in 0..DEVICES {
            at_once(&host, numbers.clone(), |number| {
                format!("addr add {}/32 dev vips{device}", vip(device, number))
            })?;
        }
        Ok(())
    };
    for device in 0..DEVICES {
        host.ip(&format!("link add vips{device} up type dummy"))?;
    }
    fill(0..1_000)?;
    // A write to default would not reach devices that have addresses (row 23).
    let hidden: Vec<String> = (0..DEVICES).map(|device| format!("vips{device}")).collect();
    let hidden: Vec<&str> = hidden.iter().map(String::as_str).collect();
    let some = steps(&host, &hidden, DEVICES)?;
    fill(1_000..10_000)?;
    let all = steps(&host, &hidden, DEVICES)?;
    lab.note = Some(linear("100000 addresses", some, 10, all)?);
    let last = vip(DEVICES - 1, 9_999);
    wire.answered(who_has(last))?;
    load()?;
    host.conceal("vips9", Way::Hidden)?;
    wire.silent(who_has(last))
}

/// The memory that is left, in MiB.
fn available() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib.context("no MemAvailable")?.parse::<u64>()? >> 10)
}

/// Ten thousand, or as many as there is memory for.
fn long_scale_devices(lab: &mut Lab) -> Result<()> {
    const SOME: u32 = 1_000;
    /// MiB for all else.
    const RESERVE: u64 = 400;
    let host = lab.host("devices")?;
    unload()?;
    let netlink = host.enter(Netlink::open)??;
    let mut count = 0;
    let mut add = || -> Result<u32> {
        for _ in 0..SOME {
            netlink.send(&Request::add_dummy(&format!("d{count}")))?;
            netlink.outcome()?;
            count += 1;
        }
        Ok(count)
    };
    add()?;
    let some = steps(&host, &["default"], SOME)?;
    let mut count = SOME;
    while count < 10 * SOME && available()? > RESERVE {
        count = add()?;
    }
    let all = steps(&host, &["default"], count)?;
    lab.note = Some(linear(
        &format!("{count} devices"),
        some,
        count / SOME,
        all,
    )?);
    load()
}

fn long_scale_namespaces(lab: &mut Lab) -> Result<()> {
    let host = lab.host("first")?;
    unload()?;
    // A thousand processes are a thousand stacks; a thousand descriptors are less.
    let mut kept = Vec::new();
    let mut add = |count: usize| -> Result<()> {
        for _ in 0..count {
            let made = thread::spawn(|| -> Result<File> {
                unshare(CloneFlags::CLONE_NEWNET)?;
                Ok(File::open("/proc/thread-self/ns/net")?)
            });
            kept.push(made.join().map_err(|_| anyhow!("panicked"))??);
        }
        Ok(())
    };
    add(100)?;
    let some = steps(&host, &["lo"], 1)?;
    add(900)?;
    let all = steps(&host, &["lo"], 1)?;
    lab.note = Some(linear("1000 namespaces", some, 10, all)?);
    load()
}
