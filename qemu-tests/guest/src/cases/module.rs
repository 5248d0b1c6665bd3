// SPDX-License-Identifier: GPL-2.0

//! Loading and unloading: rows 29 and 30, and what insmod refuses.

use crate::{
    lab::{
        case::cases,
        kernel_log::{mark, said},
        module::{load, not_redirected, redirected},
        real_server::{real_server, unnumbered_with_dummy, HOST, NEIGHBOUR, VIP},
        skip::Skip,
        Host, Lab, Way,
    },
    machine,
    wire::who_has,
};
use anyhow::{ensure, Result};
use std::fs;

cases![
    row29_flags_off,
    row30_unload: alone,
    row30_unload_with_flags_everywhere: alone,
    module_load_and_unload_100_times: alone,
    module_without_source_selection: alone,
    module_refused_beside_a_live_patch: alone,
    module_refuses_a_live_patch: alone,
    module_refused_without_ftrace: alone,
    module_refused_unsigned: alone,
    module_keeps_ftrace_enabled: alone,
    module_beside_tracers: alone,
];

/// Returns whether a host has the module's ARP hooks. Returns `None`, and adds a note to the case, if the kernel cannot list
/// hooks, as Debian 12's without CONFIG_NETFILTER_NETLINK_HOOK.
fn hooked(lab: &mut Lab, host: &str) -> Result<Option<bool>> {
    let command = format!("ip netns exec {host} nft list hooks arp");
    let (status, hooks) = machine::shell(&command)?;
    if status != 0 && hooks.contains("Invalid argument") {
        lab.note = Some("this kernel cannot list hooks".to_owned());
        return Ok(None);
    }
    ensure!(status == 0, "{command}: {hooks}");
    Ok(Some(hooks.contains("arp_hidden")))
}

/// Whether a host's hooks and the redirection of `inet_select_addr` are as expected.
fn armed(lab: &mut Lab, host: &str, hooks: bool, redirection: bool) -> Result<bool> {
    let is_hooked = hooked(lab, host)?.is_none_or(|hooked| hooked == hooks);
    let is_redirected = if redirection {
        redirected()?
    } else {
        !not_redirected()?
    };
    Ok(is_hooked && is_redirected == redirection)
}

fn row29_flags_off(lab: &mut Lab) -> Result<()> {
    let (host, neighbour, wire) = real_server(lab)?;
    ensure!(
        armed(lab, "host", false, false)?,
        "hooked with all flags off"
    );
    wire.answered(who_has(VIP))?;
    // One of the two sysctls alone has no effect.
    host.conf("all", "hidden", 1)?;
    neighbour.conf("lo", "hidden", 1)?;
    ensure!(
        armed(lab, "host", false, false)?,
        "hooked while nothing is concealed"
    );
    host.conf("lo", "hidden", 1)?;
    ensure!(
        armed(lab, "host", true, true)?,
        "not hooked while lo is hidden"
    );
    ensure!(
        hooked(lab, "neighbour")? != Some(true),
        "hooked in a namespace that conceals nothing"
    );
    host.conf("lo", "hidden", 0)?;
    ensure!(
        armed(lab, "host", false, false)?,
        "hooked after all flags are off"
    );
    host.conceal("lo", Way::Invisible)?;
    ensure!(
        armed(lab, "host", true, false)?,
        "arp_invisible needs the ARP hooks only"
    );
    wire.silent(who_has(VIP))
}

fn row30_unload(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = unnumbered_with_dummy(lab)?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        wire.silent(who_has(VIP))?;
        let other = host.source_to(NEIGHBOUR)?;
        ensure!(
            (other == VIP) == (way == Way::Invisible),
            "{way:?}: source {other}"
        );
        lab.run("rmmod arp_hidden")?;
        wire.answered(who_has(VIP))?;
        ensure!(
            host.source_to(NEIGHBOUR)? == VIP,
            "{way:?}: the route keeps its source"
        );
        ensure!(armed(lab, "host", false, false)?, "hooked after rmmod");
        let left = host.run("find /proc/sys/net -name '*hidden*' -o -name '*invisible*'")?;
        ensure!(left.is_empty(), "files are left: {left}");
        load()?;
        wire.answered(who_has(VIP))?;
    }
    Ok(())
}

/// Flags in several namespaces and devices, and a device that is created while the module is not loaded.
fn row30_unload_with_flags_everywhere(lab: &mut Lab) -> Result<()> {
    let (host, neighbour, wire) = real_server(lab)?;
    let gone = lab.host("gone")?;
    for host in [&host, &neighbour, &gone] {
        for way in Way::ALL {
            host.conceal("lo", way)?;
            host.conf("default", way.knob(), 1)?;
        }
    }
    lab.run("rmmod arp_hidden")?;
    gone.ip("link add dummy0 type dummy")?;
    wire.answered(who_has(VIP))?;
    load()?;
    ensure!(
        gone.get("net/ipv4/conf/dummy0/hidden")? == 0,
        "a device that was created without the module has a value"
    );
    host.conceal("lo", Way::Hidden)?;
    wire.silent(who_has(VIP))
}

fn module_load_and_unload_100_times(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for round in 0..100 {
        load()?;
        if round % 10 == 0 {
            host.conceal("lo", Way::ALL[round / 10 % 3])?;
            wire.silent(who_has(VIP))?;
        }
        lab.run("rmmod arp_hidden")?;
        wire.answered(who_has(VIP))?;
    }
    load()
}

/// `source_selection=0`: only the ARP hooks work.
fn module_without_source_selection(lab: &mut Lab) -> Result<()> {
    lab.run("rmmod arp_hidden")?;
    lab.run("insmod /arp_hidden.ko source_selection=0")?;
    let (host, _, wire) = unnumbered_with_dummy(lab)?;
    host.conceal("lo", Way::Hidden)?;
    ensure!(armed(lab, "host", true, false)?, "redirected all the same");
    wire.silent(who_has(VIP))?;
    ensure!(
        host.source_to(NEIGHBOUR)? == VIP,
        "the selection is not the kernel's"
    );
    host.say(VIP, NEIGHBOUR)?;
    ensure!(wire.announced(NEIGHBOUR)? != VIP, "the VIP is announced");
    lab.run("rmmod arp_hidden")?;
    load()
}

/// insmod must fail, log one line that says what to do, and leave nothing behind.
fn refused(lab: &Lab, host: &Host, what_to_do: &str) -> Result<()> {
    let start = mark(&format!("refused: {what_to_do}"))?;
    lab.run("! insmod /arp_hidden.ko")?;
    let lines = said(&start)?;
    ensure!(
        lines.len() == 1 && lines[0].contains(what_to_do),
        "expected one line about {what_to_do}: {lines:#?}"
    );
    let left = host.run("find /proc/sys/net -name '*hidden*'")?;
    ensure!(left.is_empty(), "files are left: {left}");
    Ok(())
}

/// The module does not displace a live patch or any other user that replaces `inet_select_addr`.
fn module_refused_beside_a_live_patch(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    lab.run("rmmod arp_hidden; insmod /holder.ko")?;
    refused(lab, &host, "held by another user")?;
    // The ARP hooks work without it.
    lab.run("insmod /arp_hidden.ko source_selection=0")?;
    host.conceal("lo", Way::Hidden)?;
    wire.silent(who_has(VIP))?;
    lab.run("rmmod arp_hidden; rmmod holder")?;
    load()
}

/// A live patch is refused while something is hidden.
fn module_refuses_a_live_patch(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = real_server(lab)?;
    host.conceal("lo", Way::Hidden)?;
    lab.run("! insmod /holder.ko")?;
    host.reveal("lo", Way::Hidden)?;
    ensure!(
        not_redirected()?,
        "redirected although nothing is hidden any more"
    );
    lab.run("insmod /holder.ko")?;
    // Conversely, setting the flag fails with EBUSY.
    let error = host.write("net/ipv4/conf/lo/hidden", "1").err();
    ensure!(
        error.and_then(|error| error.raw_os_error()) == Some(nix::libc::EBUSY),
        "no EBUSY"
    );
    ensure!(
        host.get("net/ipv4/conf/lo/hidden")? == 0 && hooked(lab, "host")? != Some(true),
        "half set"
    );
    lab.run("rmmod holder")?;
    host.conceal("lo", Way::Hidden)
}

fn module_refused_without_ftrace(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = real_server(lab)?;
    lab.run("rmmod arp_hidden")?;
    let off = fs::write("/proc/sys/kernel/ftrace_enabled", "0");
    if let Err(error) = off {
        load()?;
        return Err(Skip(format!("this kernel cannot switch ftrace off: {error}")).into());
    }
    let result = refused(lab, &host, "source_selection=0");
    fs::write("/proc/sys/kernel/ftrace_enabled", "1")?;
    load()?;
    result
}

/// A locked-down kernel loads the signed module and refuses an unsigned copy.
fn module_refused_unsigned(lab: &mut Lab) -> Result<()> {
    const ENFORCED: &str = "/sys/module/module/parameters/sig_enforce";
    if !fs::read_to_string(ENFORCED).is_ok_and(|enforced| enforced.trim() == "Y") {
        let why = "this kernel loads unsigned modules: make test KERNEL=hardened";
        return Err(Skip(why.to_owned()).into());
    }
    let lockdown = lab.run(
        "mount -t securityfs securityfs /sys/kernel/security; cat /sys/kernel/security/lockdown",
    )?;
    ensure!(
        lockdown.contains("[integrity]"),
        "not locked down: {lockdown}"
    );
    lab.run("rmmod arp_hidden")?;
    // Cut off the marker at the end of the file, which says that it is signed.
    lab.run("head -c -28 /arp_hidden.ko >/tmp/unsigned.ko")?;
    let said = lab.run("! insmod /tmp/unsigned.ko 2>&1")?;
    ensure!(said.contains("Key was rejected by service"), "{said}");
    load()
}

/// ftrace cannot be switched off while something is hidden.
fn module_keeps_ftrace_enabled(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = real_server(lab)?;
    host.ip("addr del 10.0.0.1/24 dev eth0")?;
    host.ip("route add 10.0.0.0/24 dev eth0")?;
    host.dummy("dummy0", "10.5.5.5/24")?;
    host.conceal("lo", Way::Hidden)?;
    lab.run("! sysctl -q kernel.ftrace_enabled=0 2>/dev/null; grep -q 1 /proc/sys/kernel/ftrace_enabled")?;
    ensure!(
        host.source_to(NEIGHBOUR)? != VIP && host.source_to(HOST)? != VIP,
        "the selection is the kernel's"
    );
    Ok(())
}

/// A tracer of `inet_select_addr`: the commands that start it, stop it, and print how many calls it has seen.
struct Tracer {
    name: &'static str,
    /// Fails if the kernel lacks this tracer.
    there: &'static str,
    begin: &'static str,
    end: &'static str,
    calls: &'static str,
}

const TRACERS: [Tracer; 4] = [
    Tracer {
        name: "a kprobe",
        there: "test -e /sys/kernel/tracing/kprobe_events",
        begin: "cd /sys/kernel/tracing; echo 'p:probe inet_select_addr' >>kprobe_events; echo 1 >events/kprobes/probe/enable",
        end: "cd /sys/kernel/tracing; echo 0 >events/kprobes/probe/enable; echo '-:probe' >>kprobe_events",
        calls: "awk '$1 == \"probe\" { print $2 }' /sys/kernel/tracing/kprobe_profile",
    },
    Tracer {
        name: "function tracing",
        there: "grep -qw function /sys/kernel/tracing/available_tracers",
        begin: "cd /sys/kernel/tracing; echo inet_select_addr >set_ftrace_filter; echo function >current_tracer; echo >trace",
        end: "cd /sys/kernel/tracing; echo nop >current_tracer; echo >set_ftrace_filter",
        calls: "grep -c 'inet_select_addr <-' /sys/kernel/tracing/trace",
    },
    Tracer {
        name: "an fprobe",
        there: "grep -qF 'f[:[<group>/]' /sys/kernel/tracing/README",
        begin: "cd /sys/kernel/tracing; echo 'f:entry inet_select_addr' >>dynamic_events; echo 1 >events/fprobes/entry/enable",
        end: "cd /sys/kernel/tracing; echo 0 >events/fprobes/entry/enable; echo '-:fprobes/entry' >>dynamic_events",
        calls: "grep -c ' entry: ' /sys/kernel/tracing/trace",
    },
    Tracer {
        name: "a BPF program",
        there: "test -e /sys/kernel/btf/vmlinux && grep -qw register_ftrace_direct /proc/kallsyms",
        begin: "sysctl -q kernel.bpf_stats_enabled=1; bpftool prog load /fentry.o /sys/fs/bpf/fentry autoattach",
        end: "rm /sys/fs/bpf/fentry; sysctl -q kernel.bpf_stats_enabled=0",
        calls: "bpftool prog show name entered | grep -o 'run_cnt [0-9]*' | cut -d' ' -f2",
    },
];

impl Tracer {
    fn calls(&self, lab: &Lab) -> Result<u64> {
        let calls = lab.run(&format!("{} || true", self.calls))?;
        Ok(calls.trim().parse().unwrap_or(0))
    }
}

/// Tracers of all kinds and the redirection work side by side, in any order of starting and stopping.
fn module_beside_tracers(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = unnumbered_with_dummy(lab)?;
    // Flushes cached sources first, so that one is selected.
    let avoids_vip = |tracers: &[&Tracer], hidden: bool| -> Result<()> {
        let before = tracers
            .iter()
            .map(|tracer| tracer.calls(lab))
            .collect::<Result<Vec<u64>>>()?;
        host.ip("route flush cache")?;
        host.ip("route change 10.0.0.0/24 dev eth0")?;
        let source = host.source_to(NEIGHBOUR)?;
        ensure!(
            (source != VIP) == hidden,
            "hidden: {hidden}, but the source is {source}"
        );
        for (tracer, before) in tracers.iter().zip(before) {
            ensure!(tracer.calls(lab)? > before, "{} saw nothing", tracer.name);
        }
        Ok(())
    };
    let mut tracers = Vec::new();
    let mut lacking = Vec::new();
    for tracer in &TRACERS {
        match machine::shell(tracer.there)? {
            (0, _) => tracers.push(tracer),
            _ => lacking.push(tracer.name),
        }
    }
    for tracer in &tracers {
        let this = &[*tracer];
        lab.run(tracer.begin)?;
        avoids_vip(this, false)?;
        host.conceal("lo", Way::Hidden)?;
        avoids_vip(this, true)?;
        lab.run(tracer.end)?;
        avoids_vip(&[], true)?;
        lab.run(tracer.begin)?;
        avoids_vip(this, true)?;
        host.reveal("lo", Way::Hidden)?;
        avoids_vip(this, false)?;
        lab.run(tracer.end)?;
    }
    for tracer in &tracers {
        lab.run(tracer.begin)?;
    }
    host.conceal("lo", Way::Hidden)?;
    avoids_vip(&tracers, true)?;
    lab.run("rmmod arp_hidden")?;
    avoids_vip(&tracers, false)?;
    load()?;
    host.conceal("lo", Way::Hidden)?;
    avoids_vip(&tracers, true)?;
    for tracer in &tracers {
        lab.run(tracer.end)?;
        avoids_vip(&[], true)?;
    }
    if !lacking.is_empty() {
        lab.note = Some(format!("this kernel lacks {}", lacking.join(", ")));
    }
    Ok(())
}
