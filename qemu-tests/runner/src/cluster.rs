// SPDX-License-Identifier: GPL-2.0

//! A cluster of virtual machines that follow a recipe.

mod works;

use crate::{
    lab::Lab, //
    recipe::{Block, Part, Recipe},
    switch::{Switch, Watcher},
    traffic::{asked, mac},
    vm::{Config, Vm, PATIENCE},
};
use anyhow::{ensure, Context, Result};
use protocol::{
    frame::{describe, Colons},
    Frame, //
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::Ipv4Addr,
    thread::{scope, sleep},
    time::{Duration, Instant},
};

/// All machines of recipes, and the last byte of their addresses in 10.0.0.0/24.
const MACHINES: &[(&str, u8)] = &[
    ("client", 1),
    ("router", 254),
    ("director", 2),
    ("lb1", 3),
    ("lb2", 4),
    ("rs1", 11),
    ("rs2", 12),
    ("rs3", 13),
];

/// The command that prints what every real server serves.
const CONTENTS: &str = "seq 1 20000";

/// The VIP of every cluster.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

/// Runs on each machine once it has booted.
///
/// The distribution's sysctl.d and udev run as on a server, and write to every interface that appears. udev starts last
/// because it would rename eth0.
///
/// The recipes are for IPv4: without IPv6 there is less to read when one fails. The time stamp counter of an emulated
/// processor is not put back with the machine. Time leaps then, which must not be reported as a lockup or a stall.
/// virtio_pci is a module in the debug kernel only.
const PREPARATION: &str = "
    modprobe -q virtio_pci || true
    modprobe virtio_net &&
    /usr/lib/systemd/systemd-sysctl &&
    test $(cat /proc/sys/net/ipv4/conf/default/rp_filter) = 2 &&
    /usr/lib/systemd/systemd-udevd --daemon &&
    sysctl net.ipv6.conf.eth0.disable_ipv6=1 kernel.soft_watchdog=0 &&
    echo 1 >/sys/module/rcupdate/parameters/rcu_cpu_stall_suppress";

/// Returns the address of a machine.
pub(crate) fn address(name: &str) -> Result<Ipv4Addr> {
    let known = MACHINES.iter().find(|(known, _)| *known == name);
    let (_, number) = known.with_context(|| format!("there is no machine {name}"))?;
    Ok(Ipv4Addr::new(10, 0, 0, *number))
}

/// Returns the names of a recipe's machines.
pub(crate) fn names(recipe: &Recipe) -> Vec<&'static str> {
    MACHINES
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| *name == "client" || recipe.has(name))
        .collect()
}

/// Booted machines on one switch. Dropping them switches them off.
pub(crate) struct Machines {
    vms: Vec<Vm>,
    lan: Switch,
}

impl Machines {
    /// Boots a machine for each of the names, which are those of the consoles' logs.
    pub(crate) fn boot(lab: &Lab, consoles: &[String]) -> Result<Self> {
        Self::boot_with(lab, consoles, |_| Vec::new())
    }

    /// As [`Self::boot`], with more arguments for the QEMU of each port.
    pub(crate) fn boot_with(
        lab: &Lab,
        consoles: &[String],
        devices: impl Fn(usize) -> Vec<String>,
    ) -> Result<Self> {
        let (lan, cables) = Switch::new(consoles.len())?;
        let mut vms = Vec::new();
        for (port, (name, cable)) in consoles.iter().zip(&cables).enumerate() {
            let mut vm = Vm::start(&Config {
                name,
                boot: lab.boot(),
                logs: &lab.logs,
                cpus: 1,
                // KASAN and kmemleak take their share.
                memory: if lab.kernel.is_debug() { 768 } else { 256 },
                devices: [cable.card(mac(port)), devices(port)].concat(),
                count_instructions: false,
                can_be_put_back: true,
            })?;
            if lab.kernel.is_debug() {
                vm.be_patient(5 * PATIENCE);
            }
            vms.push(vm);
        }
        vms.iter_mut().try_for_each(Vm::ready)?;
        // The saved state includes this, so that no case waits for it.
        each(&mut vms, |vm| {
            vm.shell(PREPARATION)?;
            vm.keep()
        })?;
        Ok(Self { vms, lan })
    }

    /// Puts as many machines as there are names back to the state after boot, and stops the others.
    pub(crate) fn renew(&mut self, names: &[&'static str]) -> Result<Cluster<'_>> {
        ensure!(names.len() <= self.vms.len(), "too few machines");
        let (needed, others) = self.vms.split_at_mut(names.len());
        others.iter_mut().try_for_each(Vm::halt)?;
        each(needed, Vm::put_back)?;
        self.lan.record(names);
        Ok(Cluster {
            names: names.to_vec(),
            machines: self,
            done: String::new(),
        })
    }
}

/// Calls `work` for all machines in parallel.
fn each(vms: &mut [Vm], work: impl Fn(&mut Vm) -> Result<()> + Sync) -> Result<()> {
    scope(|scope| {
        let work = &work;
        let threads: Vec<_> = vms
            .iter_mut()
            .map(|vm| scope.spawn(move || work(vm)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a thread failed"))
    })
}

/// Machines with names, which follow a recipe.
pub(crate) struct Cluster<'a> {
    names: Vec<&'static str>,
    machines: &'a mut Machines,
    /// The commands so far, for the report of a failure.
    done: String,
}

impl Cluster<'_> {
    /// Returns the names of the machines.
    pub(crate) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Gives machines their addresses and runs what all recipes begin with.
    pub(crate) fn set_up(&mut self, recipe: &Recipe, names: &[&str]) -> Result<()> {
        for name in names {
            let address = address(name)?;
            let script = format!("ip addr add {address}/24 dev eth0\nip link set eth0 up\n");
            self.order(name, &script)?;
        }
        self.wait_for(names)?;
        for block in &recipe.machines {
            let mut block = block.clone();
            block.machines.retain(|name| names.contains(&&**name));
            self.run(&block)?;
        }
        Ok(())
    }

    /// Runs the commands of a part of a recipe.
    pub(crate) fn follow(&mut self, part: &Part) -> Result<()> {
        part.blocks.iter().try_for_each(|block| self.run(block))
    }

    /// Runs commands on all their machines in parallel.
    pub(crate) fn run(&mut self, block: &Block) -> Result<()> {
        let machines: Vec<&str> = block.machines.iter().map(String::as_str).collect();
        for name in &machines {
            self.order(name, &block.commands)?;
        }
        self.wait_for(&machines).map(drop)
    }

    /// Returns the machine of a name.
    pub(crate) fn vm(&mut self, name: &str) -> Result<&mut Vm> {
        let port = self.names.iter().position(|known| *known == name);
        let port = port.with_context(|| format!("the cluster has no {name}"))?;
        Ok(&mut self.machines.vms[port])
    }

    /// Starts a script on a machine. Each of its commands must succeed.
    pub(crate) fn order(&mut self, name: &str, script: &str) -> Result<()> {
        for line in script.lines() {
            let _ = writeln!(self.done, "{name}# {line}");
        }
        self.vm(name)?.begin(&format!("set -e\n{script}"))
    }

    /// Waits for the scripts of machines. Returns their outputs.
    pub(crate) fn wait_for(&mut self, names: &[&str]) -> Result<Vec<String>> {
        let mut ended = Vec::new();
        for name in names {
            ended.push(self.vm(name)?.end());
        }
        let mut outputs = Vec::new();
        for (name, end) in names.iter().zip(ended) {
            let (status, output) = end?;
            ensure!(status == 0, "{name}: exit status {status}\n{output}");
            outputs.push(output);
        }
        Ok(outputs)
    }

    /// Runs a script on a machine. Returns its output.
    pub(crate) fn shell(&mut self, name: &str, script: &str) -> Result<String> {
        self.order(name, script)?;
        Ok(self.wait_for(&[name])?.remove(0))
    }

    /// Returns all frames so far.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        self.machines.lan.recording()
    }

    /// Returns all frames but the `first` ones.
    pub(crate) fn frames_since(&self, first: usize) -> Vec<Frame> {
        self.machines.lan.recording_since(first)
    }

    /// Returns a reader of the frames that does not borrow the machines.
    pub(crate) fn watcher(&self) -> Watcher {
        self.machines.lan.watcher()
    }

    /// Returns the number of frames so far.
    pub(crate) fn passed(&self) -> usize {
        self.machines.lan.recorded()
    }

    /// Returns the machine through which requests enter the cluster.
    pub(crate) fn entry(&self) -> &'static str {
        let has_router = self.names.contains(&"router");
        if has_router {
            "router"
        } else {
            "client"
        }
    }

    /// Returns the hardware address of a machine, as text.
    pub(crate) fn hardware_address(&self, name: &str) -> Result<String> {
        let port = self.names.iter().position(|known| *known == name);
        let port = port.with_context(|| format!("the cluster has no {name}"))?;
        Ok(Colons(mac(port)).to_string())
    }

    /// Returns the complaints of all kernels since the last call.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        let vms = self.names.iter().zip(&mut self.machines.vms);
        vms.flat_map(|(name, vm)| {
            let lines = vm.complaints();
            lines.into_iter().map(move |line| format!("{name}: {line}"))
        })
        .collect()
    }

    /// Makes the client ask who has an address, several times a second, until [`Self::end_asking`].
    pub(crate) fn begin_asking(&mut self, address: Ipv4Addr) -> Result<()> {
        let script = format!(
            "while :; do arping -b -c 1 -w 1 -I eth0 {address} || true; usleep 50000; done >/dev/null 2>&1 &\n\
             echo $! >/run/asker\n"
        );
        self.shell("client", &script).map(drop)
    }

    /// Ends [`Self::begin_asking`].
    pub(crate) fn end_asking(&mut self) -> Result<()> {
        self.shell("client", "kill $(cat /run/asker)\n").map(drop)
    }

    /// Waits until the client has asked for the VIP `number` times after the `first` frames.
    pub(crate) fn wait_for_questions(&self, first: usize, number: usize) -> Result<()> {
        let start = Instant::now();
        while asked(&self.frames_since(first), "client", VIP) < number {
            ensure!(
                start.elapsed() < Duration::from_secs(60),
                "the client does not ask for {VIP}"
            );
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Describes the cluster for the report of a failure.
    pub(crate) fn tell(&mut self) -> String {
        let mut text = format!("--- what was done\n{}", self.done);
        for name in self.names.clone() {
            let look = "ip -br -4 addr; ip route; ip neigh; cat /proc/net/arp_hidden 2>/dev/null; ipvsadm -L -n --stats; \
                        nft list ruleset; arptables -L -n; true";
            let state = self.vm(name).and_then(|vm| vm.try_shell(look));
            let state = state.map_or_else(|error| error.to_string(), |(_, output)| output);
            let _ = write!(text, "--- {name}\n{state}");
        }
        text += "--- the last of what passed, without the contents of connections\n";
        let frames = self.frames();
        let lines: Vec<String> = frames
            .iter()
            .filter_map(|frame| {
                let told = describe(&frame.bytes);
                let seconds = frame.microseconds as f64 / 1e6;
                let is_content =
                    told.starts_with("TCP") && !told.contains("SYN") && !told.contains("RST");
                (!is_content).then(|| format!("{seconds:10.6} {}: {told}\n", frame.wire))
            })
            .collect();
        text += &lines[lines.len().saturating_sub(60)..].concat();
        text
    }
}

/// Formats counts: `rs1 3, rs2 4`.
pub(crate) fn told(counts: &BTreeMap<impl std::fmt::Display, usize>) -> String {
    let counts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    counts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_machine() {
        let text = include_str!("../../../Documentation/clusters/README.md");
        for (name, _) in MACHINES {
            let row = format!("| {name} | {} |", address(name).unwrap());
            assert!(text.contains(&row), "'{row}' is missing");
        }
    }
}
