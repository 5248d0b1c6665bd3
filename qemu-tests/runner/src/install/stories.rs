// SPDX-License-Identifier: GPL-2.0

//! The cases.

use super::{
    disk::Disk,
    lan::{Seen, OWN, VIP},
    site::Site,
};
use crate::vm::Vm;
use anyhow::{ensure, Context, Result};
use std::{
    thread::sleep,
    time::{Duration, Instant}, //
};

/// The beginning of apt's command lines.
const APT: &str = "DEBIAN_FRONTEND=noninteractive apt-get -y -q";

/// Creates a disk with the packages installed and configured. Runs [`running`] if no case has done so before.
fn installed(site: &mut Site<'_>, name: &str) -> Result<Disk> {
    if site.installed.is_none() {
        running(site)?;
        site.lan.record();
    }
    site.with_packages(name)
}

/// apt installs the packages on the running system. The module is loaded at once and changes nothing; with the settings,
/// rs1 does not reply for the VIP any more. Without the packages it replied from the beginning, which shows that the
/// neighbour would notice in the other cases too.
pub(super) fn running(site: &mut Site<'_>) -> Result<String> {
    let disk = site.fresh("installed")?;
    let from = site.lan.now();
    let mut rs1 = site.boot(&disk)?;
    let without = site.lan.visible(from, "without the package")?;

    let packages = format!(
        "/lab/packages/arp-hidden_*_all.deb /lab/packages/arp-hidden-modules-{}_*_amd64.deb",
        site.older
    );
    site.shell(&mut rs1, &format!("{APT} install {packages}"))?;
    site.shell(
        &mut rs1,
        "test -e /sys/module/arp_hidden && test $(cat /proc/sys/net/ipv4/conf/lo/hidden) = 0",
    )?;
    let from = site.lan.now();
    site.lan.visible(from, "with the package and no flag")?;

    site.shell(&mut rs1, CONFIGURE)?;
    let from = site.lan.now();
    let hidden = site.lan.silent(from)?;
    site.shut_down(rs1, &disk)?;
    site.installed = Some(disk);
    Ok(format!("before, {without}; with the flags, {hidden}"))
}

/// Makes the settings of a real server: uncomments the examples in the package's file.
const CONFIGURE: &str =
    "sed -i 's/^#\\(net.ipv4.conf.\\(all\\|lo\\).hidden\\)/\\1/' /etc/sysctl.d/arp_hidden.conf && \
     systemctl restart systemd-sysctl && test $(cat /proc/sys/net/ipv4/conf/lo/hidden) = 1";

/// At boot, the flags are set before the network comes up: systemd says so, and rs1 never claims the VIP.
pub(super) fn boot(site: &mut Site<'_>) -> Result<String> {
    let disk = installed(site, "boot")?;
    let (mut rs1, seen) = site.boot_silently(&disk)?;
    let order = order(site, &mut rs1)?;
    site.shell(
        &mut rs1,
        &format!("ip addr show dev lo | grep -q 'inet {VIP}/32'"),
    )?;
    site.shut_down(rs1, &disk)?;
    Ok(format!("{order}; {seen}"))
}

/// Checks that systemd has loaded the module, set its flags and started the network in this order.
fn order(site: &mut Site<'_>, rs1: &mut Vm) -> Result<String> {
    let mut moments = Vec::new();
    for (unit, what) in [
        ("systemd-modules-load", "Exit"),
        ("systemd-sysctl", "Start"),
        ("systemd-sysctl", "Exit"),
        ("systemd-networkd", "Start"),
    ] {
        let command = format!("systemctl show -P ExecMain{what}TimestampMonotonic {unit}");
        let moment: u64 = site.shell(rs1, &command)?.trim().parse()?;
        ensure!(moment > 0, "{command}: it never did");
        moments.push(moment);
    }
    ensure!(
        moments.is_sorted(),
        "wrong order of: module loaded, setting flags, flags set, network starts (microseconds): {moments:?}"
    );
    Ok(format!(
        "flags set {} ms before systemd-networkd starts",
        (moments[3] - moments[2]) / 1000
    ))
}

/// rs1 boots a kernel that lacks the module, so the unit of boot.md does not add the VIP. When the module is loaded later,
/// udev sets its flags from sysctl.d, even on an interface with a dot in its name, and keeps other settings that were
/// changed by hand. Then the VIP is added, and rs1 never claims it.
pub(super) fn late(site: &mut Site<'_>) -> Result<String> {
    let disk = installed(site, "late")?;
    let mut rs1 = site.boot(&disk)?;
    site.shell(
        &mut rs1,
        &format!(
            "set -e
             rm /etc/systemd/network/vip.network
             cat >/etc/systemd/system/vips.service <<'end'\n{unit}end
             systemctl enable vips
             echo 'net/ipv4/conf/lan.100/hidden = 1' >/etc/sysctl.d/vlan.conf
             mv /lib/modules/$(uname -r)/updates/arp_hidden.ko /root
             depmod",
            unit = unit()?
        ),
    )?;
    site.shut_down(rs1, &disk)?;

    let (mut rs1, without) = site.boot_silently(&disk)?;
    site.shell(
        &mut rs1,
        &format!(
            "! test -e /proc/sys/net/ipv4/conf/lo/hidden &&
             test $(systemctl show -P ConditionResult vips) = no &&
             ! ip addr show dev lo | grep 'inet {VIP}/'"
        ),
    )?;

    let from = site.lan.now();
    site.shell(
        &mut rs1,
        "set -e
         ip link add link $(cd /sys/class/net && echo e*) name lan.100 type vlan id 100
         udevadm settle
         sysctl net.ipv4.conf.lo.rp_filter=0
         mv /root/arp_hidden.ko /lib/modules/$(uname -r)/updates
         depmod
         modprobe arp_hidden
         udevadm settle",
    )?;
    let set = site.shell(
        &mut rs1,
        "cd /proc/sys/net/ipv4/conf
         grep . all/hidden default/hidden lo/hidden lan.100/hidden lo/rp_filter | paste -s -d ' '",
    )?;
    let wanted = "all/hidden:1 default/hidden:0 lo/hidden:1 lan.100/hidden:1 lo/rp_filter:0";
    ensure!(set.trim() == wanted, "with the module, after udev:\n{set}");
    site.shell(
        &mut rs1,
        &format!("systemctl start vips && ip addr show dev lo | grep 'inet {VIP}/32'"),
    )?;
    let late = site.lan.silent(from)?;
    site.shut_down(rs1, &disk)?;
    Ok(format!(
        "without the module, no VIP: {without}; with it, {late}"
    ))
}

/// Returns the unit in Documentation/clusters/boot.md.
fn unit() -> Result<&'static str> {
    let text = include_str!("../../../../Documentation/clusters/boot.md");
    let unit = text.split("```ini\n").nth(1);
    let unit = unit.and_then(|rest| rest.split("```").next());
    unit.context("boot.md has no unit")
}

/// A later version is installed while a client uses a connection to the VIP. The connection continues, and rs1 does not
/// claim the VIP, not even during the reboot to the later version.
pub(super) fn upgrade(site: &mut Site<'_>) -> Result<String> {
    let disk = installed(site, "upgrade")?;
    let mut rs1 = site.boot(&disk)?;
    let before = site.shell(&mut rs1, "cat /sys/module/arp_hidden/version")?;
    site.shell(
        &mut rs1,
        "socat TCP-LISTEN:7,fork,reuseaddr EXEC:cat </dev/null >/dev/null 2>&1 &",
    )?;
    let mut client = site.client()?;
    let from = site.lan.now();
    let echoed = |site: &mut Site<'_>, client: &mut Vm| -> Result<usize> {
        // Each line was received once, in order, and the connection is still open.
        let script =
            "pidof nc >/dev/null && awk 'NR != $1 { exit 1 } END { print NR }' /run/echoed";
        Ok(site.shell(client, script)?.trim().parse()?)
    };
    sleep(Duration::from_secs(1));
    let first = echoed(site, &mut client)?;
    ensure!(first > 0, "the connection to the VIP has no answer");

    let packages = format!(
        "/lab/later/arp-hidden_*_all.deb /lab/later/arp-hidden-modules-{}_*_amd64.deb",
        site.older
    );
    let said = site.shell(&mut rs1, &format!("{APT} install {packages}"))?;
    let during = echoed(site, &mut client)? - first;
    sleep(Duration::from_secs(1));
    let after = echoed(site, &mut client)? - first - during;
    ensure!(
        during > 0 && after > 0,
        "lines echoed: {first} before the upgrade, {during} during it, {after} after it"
    );
    ensure!(
        said.contains("stays loaded with its flags"),
        "apt does not say that the module stays:\n{said}"
    );
    let seen = site.lan.silent(from)?;
    drop(client);
    site.shut_down(rs1, &disk)?;

    let (mut rs1, booted) = site.boot_silently(&disk)?;
    let later = site.shell(&mut rs1, "cat /sys/module/arp_hidden/version")?;
    ensure!(
        before != later,
        "after the reboot it is still version {later}"
    );
    site.shut_down(rs1, &disk)?;
    Ok(format!(
        "{} to {}; during the upgrade {during} lines on the connection; {seen}; reboot: {booted}",
        before.trim(),
        later.trim()
    ))
}

/// The newer kernel and its modules package are installed in one run of apt, and booted.
pub(super) fn kernel(site: &mut Site<'_>) -> Result<String> {
    let disk = installed(site, "kernel")?;
    let from = site.lan.now();
    let mut rs1 = site.boot(&disk)?;
    let install = format!(
        "apt-get -q update && {APT} install linux-image-{newer} /lab/packages/arp-hidden-modules-{newer}_*_amd64.deb",
        newer = site.newer
    );
    site.shell(&mut rs1, &install)?;
    let seen = site.lan.silent(from)?;
    site.shut_down(rs1, &disk)?;
    boots_newer(site, &disk, seen)
}

/// As [`kernel`], with DKMS: it builds the module when it is installed, and again for the newer kernel.
pub(super) fn dkms(site: &mut Site<'_>) -> Result<String> {
    let disk = site.fresh("dkms")?;
    let mut rs1 = site.boot(&disk)?;
    let start = Instant::now();
    site.shell(
        &mut rs1,
        &format!("{APT} install /lab/packages/arp-hidden_*_all.deb /lab/packages/arp-hidden-dkms_*_all.deb"),
    )?;
    let first = start.elapsed().as_secs();
    site.shell(&mut rs1, CONFIGURE)?;
    let from = site.lan.now();
    let start = Instant::now();
    let install = format!(
        "apt-get -q update && {APT} install linux-image-{newer} linux-headers-{newer}",
        newer = site.newer,
    );
    site.shell(&mut rs1, &install)?;
    let second = start.elapsed().as_secs();
    let seen = site.lan.silent(from)?;
    site.shut_down(rs1, &disk)?;
    let note = boots_newer(site, &disk, seen)?;
    Ok(format!(
        "apt took {first} s, and {second} s for the newer kernel; {note}"
    ))
}

/// Boots, and checks that it is the newer kernel and that rs1 does not claim the VIP.
fn boots_newer(site: &mut Site<'_>, disk: &Disk, seen: Seen) -> Result<String> {
    let (mut rs1, booted) = site.boot_silently(disk)?;
    let release = site.shell(&mut rs1, "uname -r")?;
    ensure!(release.trim() == site.newer, "{release} was booted");
    let order = order(site, &mut rs1)?;
    site.shut_down(rs1, disk)?;
    Ok(format!("{seen}; reboot: {order}; {booted}"))
}

/// The packages are purged. The loaded module stays until the reboot, as apt says. After that nothing is left, and rs1
/// replies for the VIP.
pub(super) fn purge(site: &mut Site<'_>) -> Result<String> {
    let disk = installed(site, "purge")?;
    let mut rs1 = site.boot(&disk)?;
    let from = site.lan.now();
    site.shell(&mut rs1, &format!("{APT} purge 'arp-hidden*'"))?;
    let seen = site.lan.silent(from)?;
    let left = site.shell(
        &mut rs1,
        "find / -xdev -path /var/log -prune -o -path '*arp[-_]hidden*' -print; \
         grep -l arp_hidden /lib/modules/*/modules.dep /var/lib/dpkg/status; true",
    )?;
    ensure!(left.is_empty(), "left behind:\n{left}");
    site.shut_down(rs1, &disk)?;

    let from = site.lan.now();
    let mut rs1 = site.boot(&disk)?;
    let booted = site.lan.visible(from, "after the reboot")?;
    site.shell(
        &mut rs1,
        "! test -e /sys/module/arp_hidden && ! test -e /proc/sys/net/ipv4/conf/lo/hidden",
    )?;
    site.shut_down(rs1, &disk)?;
    Ok(format!("{seen}; reboot: {booted}"))
}

/// What `make check` runs once all is built.
const CHECK: &str = "cd /lab/check && . ./lib.sh && . ./check.sh && check_machine && \
    report /lib/modules/$(uname -r)/build/include/config/auto.conf arp_hidden.ko report.txt \
    ./runner check --root root --logs logs --case row,see_";

/// Prints what must be the same afterwards: modules that can be unloaded, network namespaces and devices, trace buffers.
const LEFT: &str = "udevadm settle; grep -vF '[permanent]' /proc/modules | cut -d' ' -f1 | sort; lsns --type net --noheadings --output NS,COMMAND; ip -oneline link; \
     ls /sys/kernel/tracing/instances";

/// `make check` on a machine with other tasks: the cases pass, and the report describes the kernel without identifying the
/// machine. Nothing is left behind, even after an interruption. It refuses to run while the module is loaded.
pub(super) fn check(site: &mut Site<'_>) -> Result<String> {
    let disk = site.fresh("check")?;
    let mut rs1 = site.boot(&disk)?;
    let before = site.shell(&mut rs1, LEFT)?;
    let in_bash = |command: &str| format!("bash -c '{command}'");
    let (status, report) = rs1.try_shell(&in_bash(CHECK))?;
    ensure!(status == 0, "exit status {status}\n{report}");
    let after = site.shell(&mut rs1, LEFT)?;
    ensure!(before == after, "before:\n{before}\nafter:\n{after}");

    let report = site.shell(&mut rs1, "cat /lab/check/report.txt")?;
    for wanted in [
        &*format!("kernel: Linux {}, x86_64", site.older),
        "distribution: Debian GNU/Linux",
        "\nCONFIG_CC_VERSION_TEXT=",
        "\nCONFIG_NETFILTER_FAMILY_ARP=y\n",
        "\nmodule: version=",
        " rust=kernel crate of ",
        "KTAP version 1",
        "row01_broadcast",
        " 0 failed, ",
    ] {
        ensure!(report.contains(wanted), "no '{wanted}' in\n{report}");
    }
    let names = site.shell(
        &mut rs1,
        "hostname; cat /etc/machine-id /proc/sys/kernel/random/boot_id /sys/class/net/eth0/address; echo /lab",
    )?;
    for name in names.lines().chain([&*OWN.to_string()]) {
        ensure!(!report.contains(name), "'{name}' is in\n{report}");
    }

    // As ^C does, interrupt all processes in the terminal's foreground.
    let (status, said) = rs1.try_shell(&format!("timeout --signal=INT 10 {}", in_bash(CHECK)))?;
    ensure!(
        status != 0 && said.contains("interrupted by SIGINT"),
        "exit status {status}\n{said}"
    );
    let after = site.shell(&mut rs1, LEFT)?;
    ensure!(
        before == after,
        "before:\n{before}\nafter an interruption:\n{after}"
    );

    site.shell(&mut rs1, "insmod /lab/check/arp_hidden.ko")?;
    let (status, said) = rs1.try_shell(&in_bash(CHECK))?;
    ensure!(
        status == 1 && said.lines().count() == 1 && said.contains("arp_hidden is loaded"),
        "exit status {status}\n{said}"
    );
    site.shell(&mut rs1, "rmmod arp_hidden")?;
    site.shut_down(rs1, &disk)?;
    let sum = report.lines().last().unwrap_or_default();
    Ok(format!(
        "{sum}; a report of {} lines",
        report.lines().count()
    ))
}
