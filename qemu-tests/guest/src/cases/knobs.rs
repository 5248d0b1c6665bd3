// SPDX-License-Identifier: GPL-2.0

//! The knobs: rows 21, 22 and 24.

use crate::{
    lab::{
        case::cases,
        real_server::{real_server, VIP},
        skip::Skip,
        Lab, Way,
    },
    machine,
    wire::who_has,
};
use anyhow::{ensure, Result};
use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    process::Command,
};

cases![
    row21_files,
    row21_namespaces,
    row21_user_namespace,
    row22_values,
    row24_new_namespace: alone,
];

/// A knob of the kernel that no other case uses. Once the first namespace's `default` has been written, new namespaces
/// inherit that fact for as long as the machine runs, and later writes to `default` do not reach their devices.
const KERNELS: &str = "drop_gratuitous_arp";

const KNOBS: [&str; 2] = ["hidden", "arp_invisible"];

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

/// Root of a user namespace may write the knobs of its own network namespace and of no other, as with arp_ignore.
fn row21_user_namespace(lab: &mut Lab) -> Result<()> {
    if machine::is_shared() && machine::shell("unshare --user true")?.0 != 0 {
        let why = "no user namespace can be made here, in a chroot";
        return Err(Skip(why.to_owned()).into());
    }
    let (host, _, _) = real_server(lab)?;
    let own = "unshare --user --map-root-user --net sh -c";
    for knob in KNOBS {
        lab.run(&format!("{own} 'echo 1 >/proc/sys/net/ipv4/conf/all/{knob} && echo 1 >/proc/sys/net/ipv4/conf/lo/{knob} && grep 1 /proc/sys/net/ipv4/conf/lo/{knob}'"))?;
        ensure!(
            host.get(&format!("net/ipv4/conf/all/{knob}"))? == 0,
            "another namespace's {knob} has changed"
        );
    }
    // In another user's network namespace, root of a different user namespace gets the same error as for the kernel's knob.
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
    // Any non-zero value of `all` enables; the device's value decides.
    host.conf("lo", "hidden", 1)?;
    host.conf("all", "hidden", 2)?;
    wire.silent(who_has(VIP))?;
    wire.answered(who_has(VIP).unicast())?;
    host.conf("lo", "hidden", 2)?;
    host.conf("all", "hidden", 1)?;
    wire.silent(who_has(VIP).unicast())
}

/// net.core.devconf_inherit_init_net: a new namespace inherits from the first one (0 and 1), nothing (2), or from the one
/// that creates it (3).
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
    // Unloading forgets that the first namespace's `default` was written, which later namespaces would inherit.
    lab.run("rmmod arp_hidden")?;
    result
}
