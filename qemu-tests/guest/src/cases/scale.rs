// SPDX-License-Identifier: GPL-2.0

//! Hosts of a size that nobody has.

use crate::{
    lab::{
        batch::Batch,
        case::cases,
        module::{load, unload},
        real_server::real_server,
        Host, Lab, Way,
    },
    machine,
    netlink::{Netlink, Request},
    wire::who_has,
};
use anyhow::{anyhow, ensure, Result};
use nix::sched::{unshare, CloneFlags};
use std::{
    fs::File,
    net::Ipv4Addr,
    thread::{self},
    time::{Duration, Instant},
};

cases![long_scale,];

/// How long something takes.
fn timed(f: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    f()?;
    Ok(start.elapsed())
}

/// Loads the module beside what is there, hides and reveals what there is, unloads: how long each takes.
fn load_write_unload(host: &Host, directory: &str) -> Result<[Duration; 4]> {
    let times = [
        timed(load)?,
        timed(|| {
            host.conf("all", "hidden", 1)?;
            host.conf(directory, "hidden", 1)
        })?,
        timed(|| host.conf(directory, "hidden", 0))?,
        // With the flags in force, so that there is most to be undone.
        {
            host.conf(directory, "hidden", 1)?;
            timed(unload)?
        },
    ];
    Ok(times)
}

/// A tenth of what there is to be, and all of it: ten times as much may take thirty times as long, not a hundred.
fn not_quadratic(what: &str, tenth: [Duration; 4], whole: [Duration; 4]) -> Result<String> {
    let mut told = what.to_owned();
    for ((name, tenth), whole) in ["load", "hide", "reveal", "unload"]
        .iter()
        .zip(tenth)
        .zip(whole)
    {
        told += &format!(" {name} {} ms", whole.as_millis());
        // A tenth of a second is what grace periods take on a machine that is busy.
        let most = tenth * 30 + Duration::from_millis(100);
        ensure!(
            whole <= most,
            "{what}: {name} takes {whole:?}, of a tenth {tenth:?}"
        );
    }
    Ok(told)
}

/// Ten thousand VIPs, a thousand devices, a thousand namespaces.
fn long_scale(lab: &mut Lab) -> Result<()> {
    let mut told = Vec::new();
    {
        let (host, _, wire) = real_server(lab)?;
        unload()?;
        let vip = |number: u32| Ipv4Addr::from_bits(0x0a64_0000 + number);
        let mut ip = Batch::new(&host)?;
        let mut fill = |from: u32, to: u32| -> Result<()> {
            for number in from..to {
                let complaint = ip.run(&format!("addr add {}/32 dev lo", vip(number)))?;
                ensure!(complaint.is_empty(), "{complaint}");
            }
            Ok(())
        };
        fill(0, 1000)?;
        let tenth = load_write_unload(&host, "lo")?;
        fill(1000, 10_000)?;
        let whole = load_write_unload(&host, "lo")?;
        told.push(not_quadratic("10000 VIPs:", tenth, whole)?);
        load()?;
        host.conceal("lo", Way::Hidden)?;
        wire.silent(who_has(vip(9_999)))?;
        // One more, while all are concealed.
        let more = timed(|| host.ip("addr add 10.99.0.1/32 dev lo").map(drop))?;
        told.push(format!("one more {} ms", more.as_millis()));
        unload()?;
        wire.answered(who_has(vip(9_999)))?;
    }
    {
        let host = lab.host("devices")?;
        let netlink = host.enter(Netlink::open)??;
        let fill = |from: u32, to: u32| -> Result<()> {
            for number in from..to {
                netlink.send(&Request::add_dummy(&format!("d{number}")))?;
                netlink.outcome()?;
            }
            Ok(())
        };
        fill(0, 100)?;
        let tenth = load_write_unload(&host, "default")?;
        fill(100, 1000)?;
        let whole = load_write_unload(&host, "default")?;
        told.push(not_quadratic("1000 devices:", tenth, whole)?);
    }
    {
        let host = lab.host("first")?;
        // A thousand processes are a thousand stacks; a thousand descriptors are less.
        let mut kept = Vec::new();
        let mut fill = |count: usize| -> Result<()> {
            for _ in 0..count {
                kept.push(
                    thread::spawn(|| -> Result<File> {
                        unshare(CloneFlags::CLONE_NEWNET)?;
                        Ok(File::open("/proc/thread-self/ns/net")?)
                    })
                    .join()
                    .map_err(|_| anyhow!("panicked"))??,
                );
            }
            Ok(())
        };
        fill(100)?;
        let tenth = load_write_unload(&host, "lo")?;
        fill(900)?;
        let whole = load_write_unload(&host, "lo")?;
        told.push(not_quadratic("1000 namespaces:", tenth, whole)?);
    }
    load()?;
    // The namespaces go in their own time; the next case is not to wait for it.
    machine::shell("sleep 1")?;
    lab.note = Some(told.join("; "));
    Ok(())
}
