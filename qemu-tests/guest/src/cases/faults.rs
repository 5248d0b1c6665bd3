// SPDX-License-Identifier: GPL-2.0

//! Out of memory: each allocation of the module's operations fails once. The operation either succeeds all the same, or
//! fails with ENOMEM and changes nothing.

use crate::{
    lab::{
        case::cases,
        faults::{Faults, Walked},
        module::{self, load, Module},
        real_server::{real_server, VIP},
        Lab, Way,
    },
    netlink::{Netlink, Request},
    wire::who_has,
};
use anyhow::{anyhow, bail, ensure, Result};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sched::{unshare, CloneFlags},
};
use std::{
    fs::{self, File, OpenOptions},
    net::Ipv4Addr,
    os::unix::fs::FileExt,
    path::Path,
    thread,
};

cases![
    fault_in_load: alone,
    fault_in_new_namespace: alone,
    fault_in_new_device: alone,
    fault_in_first_write: alone,
    fault_in_new_address: alone,
];

const KNOBS: [&str; 2] = ["hidden", "arp_invisible"];

/// Counts the module's files in directories of the current namespace.
fn files(directories: &[&str]) -> usize {
    directories
        .iter()
        .flat_map(|directory| {
            KNOBS.map(|knob| format!("/proc/sys/net/ipv4/conf/{directory}/{knob}"))
        })
        .filter(|file| Path::new(file).exists())
        .count()
}

fn note(lab: &mut Lab, walked: Walked) {
    lab.note = Some(format!(
        "{} allocations failed, {} operations were refused",
        walked.failed, walked.refused
    ));
}

fn fault_in_load(lab: &mut Lab) -> Result<()> {
    let faults = Faults::new()?;
    let (host, _, wire) = real_server(lab)?;
    lab.run("rmmod arp_hidden")?;
    let module = Module::open()?;
    let directories = ["all", "default", "lo", "eth0"];
    // The kernel warns if it has no memory for a module's tracepoints. The runner expects this warning.
    const WARNED: u64 = 1 << 9;
    lab.taints = WARNED;
    let walked = faults.walk(
        || module.insert(),
        |_, result, _| {
            let files = host.enter(|| files(&directories))?;
            match result {
                Ok(()) => {
                    ensure!(files == 2 * directories.len(), "{files} files");
                    module::remove()?;
                    Ok(false)
                }
                // The kernel returns EINVAL if it has no memory for a module's BTF.
                Err(Errno::ENOMEM | Errno::EINVAL) => {
                    ensure!(files == 0, "{files} files are left");
                    ensure!(
                        !Path::new("/sys/module/arp_hidden").exists()
                            && !Path::new("/proc/net/arp_hidden").exists(),
                        "the module is left"
                    );
                    Ok(true)
                }
                Err(error) => bail!("{error}"),
            }
        },
    )?;
    load()?;
    host.conceal("lo", Way::Hidden)?;
    wire.silent(who_has(VIP))?;
    note(lab, walked);
    Ok(())
}

fn fault_in_new_namespace(lab: &mut Lab) -> Result<()> {
    let faults = Faults::new()?;
    // In a thread, because it stays in the last of the namespaces.
    let walked = thread::spawn(move || {
        faults.walk(
            || unshare(CloneFlags::CLONE_NEWNET),
            |_, result, _| match result {
                Ok(()) => {
                    // A namespace always has lo, so its files must exist.
                    let files = files(&["all", "default", "lo"]);
                    let table = Path::new("/proc/thread-self/net/arp_hidden").exists();
                    ensure!(files == 6 && table, "{files} files, table: {table}");
                    Ok(false)
                }
                // The kernel has several errors for the lack of memory here: EEXIST for /proc/net/stat, ENODEV for the
                // uevent socket, EAFNOSUPPORT for other sockets, EINVAL for the name of lo.
                Err(_) => Ok(true),
            },
        )
    });
    let walked = walked.join().map_err(|_| anyhow!("panicked"))??;
    note(lab, walked);
    Ok(())
}

fn fault_in_new_device(lab: &mut Lab) -> Result<()> {
    let faults = Faults::new()?;
    let (host, _, _) = real_server(lab)?;
    // The new device is concealed from the beginning, so that its registration arms everything.
    host.conf("all", "hidden", 1)?;
    host.conf("default", "hidden", 1)?;
    let walked = host.enter(|| {
        let netlink = Netlink::open()?;
        let (make, delete) = (Request::add_dummy("dummy0"), Request::delete_link("dummy0"));
        faults.walk(
            || netlink.send(&make),
            |_, sent, _| {
                // The reply may be lost too, for want of memory.
                let told = sent.and_then(|()| netlink.outcome());
                let files = files(&["dummy0"]);
                if if_nametoindex("dummy0").is_err() {
                    ensure!(files == 0, "{files} files of a device that is not there");
                    // The kernel returns EINVAL if it has no memory for the device's name in sysfs.
                    return match refusal(told)? {
                        Errno::ENOMEM | Errno::ENOBUFS | Errno::EINVAL => Ok(true),
                        error => bail!("{error}"),
                    };
                }
                ensure!(files == 2, "{files} files of the new device");
                let value = fs::read_to_string("/proc/sys/net/ipv4/conf/dummy0/hidden")?;
                ensure!(value == "1\n", "the new device has the value {value}");
                netlink.send(&delete)?;
                netlink.outcome()?;
                Ok(false)
            },
        )
    })??;
    note(lab, walked);
    Ok(())
}

/// Returns the error of a refused request, whether the kernel replied with it or the request or reply was lost.
fn refusal(told: Result<()>) -> Result<Errno> {
    let Err(error) = told else {
        bail!("netlink reports success");
    };
    error.downcast::<Errno>()
}

fn value(file: &File) -> Result<i32> {
    let mut text = [0; 16];
    let len = file.read_at(&mut text, 0)?;
    Ok(std::str::from_utf8(&text[..len])?.trim().parse()?)
}

/// The first flag on a host, on a device that never had one.
fn fault_in_first_write(lab: &mut Lab) -> Result<()> {
    let faults = Faults::new()?;
    let (host, _, wire) = real_server(lab)?;
    host.ip("addr del 10.0.0.100/32 dev lo")?;
    host.conf("all", "hidden", 1)?;
    let new_device = || -> Result<File> {
        host.dummy("dummy0", "10.0.0.100/32")?;
        let knob = host.enter(|| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open("/proc/sys/net/ipv4/conf/dummy0/hidden")
        })??;
        Ok(knob)
    };
    let knob = std::cell::RefCell::new(new_device()?);
    let walked = faults.walk(
        || knob.borrow().write_at(b"1", 0),
        |_, result, _| {
            let refused = match result {
                Ok(_) => {
                    ensure!(value(&knob.borrow())? == 1, "the value is not there");
                    false
                }
                Err(error) if error.raw_os_error() == Some(Errno::ENOMEM as i32) => {
                    ensure!(value(&knob.borrow())? == 0, "half set");
                    wire.answered(who_has(VIP))?;
                    // The next attempt succeeds.
                    knob.borrow().write_at(b"1", 0)?;
                    true
                }
                Err(error) => return Err(error.into()),
            };
            wire.silent(who_has(VIP))?;
            host.ip("link del dummy0")?;
            knob.replace(new_device()?);
            wire.answered(who_has(VIP))?;
            Ok(refused)
        },
    )?;
    note(lab, walked);
    Ok(())
}

/// A new address of a concealed device is either refused or concealed.
fn fault_in_new_address(lab: &mut Lab) -> Result<()> {
    let faults = Faults::new()?;
    let (host, _, wire) = real_server(lab)?;
    host.conceal("lo", Way::Strict)?;
    let new = Ipv4Addr::new(10, 0, 0, 101);
    let (netlink, lo) = host.enter(|| (Netlink::open(), if_nametoindex("lo")))?;
    let (netlink, lo) = (netlink?, lo?);
    let walked = faults.walk(
        || netlink.send(&Request::add_address(lo, new)),
        |_, sent, _| {
            let told = sent.and_then(|()| netlink.outcome());
            let there = host.ip("addr show dev lo")?.contains("10.0.0.101/32");
            wire.silent(who_has(new).unicast())?;
            if there {
                host.ip("addr del 10.0.0.101/32 dev lo")?;
                return Ok(false);
            }
            match refusal(told)? {
                Errno::ENOMEM | Errno::ENOBUFS => Ok(true),
                error => bail!("{error}"),
            }
        },
    )?;
    note(lab, walked);
    Ok(())
}
