// SPDX-License-Identifier: GPL-2.0

//! A cluster of virtual machines that follow a recipe, and the look at whether it works.

use crate::{
    lab::Lab, //
    recipe::{Block, Part, Recipe},
    switch::{Switch, Watcher},
    traffic::{arp, asked, claims, connections, mac, owner},
    vm::{Config, Vm, PATIENCE},
};
use anyhow::{bail, ensure, Context, Result};
use protocol::{
    frame::{describe, Colons},
    Frame, //
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddrV4},
    thread::{scope, sleep},
    time::Duration,
};

/// All machines that a recipe may have, and the last byte of their addresses in 10.0.0.0/24.
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

/// What every real server serves: the numbers from 1 to 20000, a line each.
const CONTENTS: &str = "seq 1 20000";

/// The VIP that all clusters have.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

/// The service whose packets have the mark 1 where services are marks.
const MARKED: SocketAddrV4 = SocketAddrV4::new(VIP, 80);

/// What each machine does once, after it has booted.
///
/// The distribution's sysctl.d and udev are at work, as on a server: they write to every interface that appears.
/// udev starts last because it would rename eth0.
///
/// The recipes are for IPv4: without IPv6 there is less to read when one fails. An emulated processor's time stamp
/// counter is not put back with the machine, so time leaps then, which is no lockup and no stall. virtio_pci is a
/// module in the debug kernel only.
const PREPARATION: &str = "
    modprobe -q virtio_pci || true
    modprobe virtio_net &&
    /usr/lib/systemd/systemd-sysctl &&
    test $(cat /proc/sys/net/ipv4/conf/default/rp_filter) = 2 &&
    /usr/lib/systemd/systemd-udevd --daemon &&
    sysctl net.ipv6.conf.eth0.disable_ipv6=1 kernel.soft_watchdog=0 &&
    echo 1 >/sys/module/rcupdate/parameters/rcu_cpu_stall_suppress";

/// How long after the last request the slowest answer to it has come.
const AFTERMATH: Duration = Duration::from_millis(300);

/// The address of a machine.
pub(crate) fn address(name: &str) -> Result<Ipv4Addr> {
    let known = MACHINES.iter().find(|(known, _)| *known == name);
    let (_, number) = known.with_context(|| format!("there is no machine {name}"))?;
    Ok(Ipv4Addr::new(10, 0, 0, *number))
}

/// The names of the machines that a recipe is for.
pub(crate) fn names(recipe: &Recipe) -> Vec<&'static str> {
    MACHINES
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| *name == "client" || recipe.has(name))
        .collect()
}

/// Booted machines at one switch. They are switched off when they are dropped.
pub(crate) struct Machines {
    vms: Vec<Vm>,
    lan: Switch,
}

impl Machines {
    /// Boots machines; the names are those of their consoles' logs.
    pub(crate) fn boot(lab: &Lab, consoles: &[String]) -> Result<Self> {
        Self::boot_with(lab, consoles, |_| Vec::new())
    }

    /// As [`Self::boot`]; `devices` has more of QEMU's arguments for the machine at a port.
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
                // What KASAN and kmemleak note of it is part of it.
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
        // Before that state is kept, so that no case waits for it.
        each(&mut vms, |vm| {
            vm.shell(PREPARATION)?;
            vm.keep()
        })?;
        Ok(Self { vms, lan })
    }

    /// Makes as many as are named new, as they were when they had booted. The others stand still.
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

/// Does the same with all machines at once.
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

/// Machines with names and something to do.
pub(crate) struct Cluster<'a> {
    names: Vec<&'static str>,
    machines: &'a mut Machines,
    /// What was done so far, for those who look into a failure.
    done: String,
}

impl Cluster<'_> {
    /// The names of its machines.
    pub(crate) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Gives machines their addresses, and what all recipes begin with.
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

    /// Does what a part of a recipe says.
    pub(crate) fn follow(&mut self, part: &Part) -> Result<()> {
        part.blocks.iter().try_for_each(|block| self.run(block))
    }

    /// Runs commands, on all their machines at once.
    pub(crate) fn run(&mut self, block: &Block) -> Result<()> {
        let machines: Vec<&str> = block.machines.iter().map(String::as_str).collect();
        for name in &machines {
            self.order(name, &block.commands)?;
        }
        self.wait_for(&machines).map(drop)
    }

    /// The machine of a name.
    pub(crate) fn vm(&mut self, name: &str) -> Result<&mut Vm> {
        let port = self.names.iter().position(|known| *known == name);
        let port = port.with_context(|| format!("the cluster has no {name}"))?;
        Ok(&mut self.machines.vms[port])
    }

    /// Gives a machine a script to run, and does not wait. Each command of it must succeed.
    pub(crate) fn order(&mut self, name: &str, script: &str) -> Result<()> {
        for line in script.lines() {
            let _ = writeln!(self.done, "{name}# {line}");
        }
        self.vm(name)?.begin(&format!("set -e\n{script}"))
    }

    /// Waits for the scripts of machines: what they printed.
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

    /// Runs a script on a machine: what it printed.
    pub(crate) fn shell(&mut self, name: &str, script: &str) -> Result<String> {
        self.order(name, script)?;
        Ok(self.wait_for(&[name])?.remove(0))
    }

    /// All frames so far.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        self.machines.lan.recording()
    }

    /// The frames from a number of them on.
    pub(crate) fn frames_since(&self, first: usize) -> Vec<Frame> {
        self.machines.lan.recording_since(first)
    }

    /// Who looks at the frames while the machines are busy.
    pub(crate) fn watcher(&self) -> Watcher {
        self.machines.lan.watcher()
    }

    /// The number of frames so far.
    pub(crate) fn passed(&self) -> usize {
        self.machines.lan.recorded()
    }

    /// The machine from which requests come to the cluster.
    pub(crate) fn entry(&self) -> &'static str {
        let has_router = self.names.contains(&"router");
        if has_router {
            "router"
        } else {
            "client"
        }
    }

    /// The hardware address of a machine, as it is written.
    pub(crate) fn hardware_address(&self, name: &str) -> Result<String> {
        let port = self.names.iter().position(|known| *known == name);
        let port = port.with_context(|| format!("the cluster has no {name}"))?;
        Ok(Colons(mac(port)).to_string())
    }

    /// What the kernels complained of.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        let vms = self.names.iter().zip(&mut self.machines.vms);
        vms.flat_map(|(name, vm)| {
            let lines = vm.complaints();
            lines.into_iter().map(move |line| format!("{name}: {line}"))
        })
        .collect()
    }

    /// Lets the client ask who has an address, several times a second, until [`Self::end_asking`].
    pub(crate) fn begin_asking(&mut self, address: Ipv4Addr) -> Result<()> {
        let script = format!(
            "while :; do arping -b -c 1 -w 1 -I eth0 {address} || true; usleep 50000; done >/dev/null 2>&1 &\n\
             echo $! >/run/asker\n"
        );
        self.shell("client", &script).map(drop)
    }

    /// Ends what [`Self::begin_asking`] began.
    pub(crate) fn end_asking(&mut self) -> Result<()> {
        self.shell("client", "kill $(cat /run/asker)\n").map(drop)
    }

    /// Lets the client ask for the contents of every service of the director's, and looks at the wire: only the
    /// director says that it has a VIP, every request goes to it and on to a real server, which answers in the
    /// VIP's name; all of them serve, and what the client receives is right.
    pub(crate) fn works(&mut self, director: &str) -> Result<String> {
        // Whatever udev does to new interfaces, it has done.
        for name in self.names.clone() {
            self.shell(name, "udevadm settle\n")?;
        }
        let services = Service::read(&self.shell(director, "ipvsadm -S -n\n")?)?;
        let mut faults = Vec::new();
        let mut real_servers: Vec<&str> = Vec::new();
        for service in &services {
            for (name, _) in &service.real_servers {
                if !real_servers.contains(name) {
                    real_servers.push(name);
                }
            }
        }
        // Who has forgotten the others must ask, and all hear in whose name.
        for name in &real_servers {
            self.order(name, "ip neigh flush dev eth0\n")?;
        }
        self.wait_for(&real_servers)?;
        let entry = self.entry();
        let mut forget = String::new();
        for service in &services {
            forget += &format!("ip neigh flush to {}\n", service.address.ip());
        }
        if entry != "client" {
            self.shell(entry, &forget)?;
            forget.clear();
        }
        let first = self.passed();
        let rounds = 2 * services
            .iter()
            .map(|s| s.real_servers.len())
            .max()
            .unwrap_or(0);
        let mut script = format!("for round in $(seq {rounds}); do\n{forget}");
        for service in &services {
            let url = service.address;
            script += &format!("wget -q -T 5 -O - http://{url}/data | md5sum\n");
        }
        script += &format!("done\n{CONTENTS} | md5sum\n");
        let output = self.shell("client", &script)?;
        sleep(AFTERMATH);
        let frames = self.frames_since(first);

        let mut sums: Vec<&str> = output.lines().collect();
        let right = sums.pop().context("the client says nothing")?;
        let requests = rounds * services.len();
        let received = sums.iter().filter(|sum| **sum == right).count();
        if received != requests {
            faults.push(format!(
                "{requests} requests, {received} answers with the right contents"
            ));
        }

        let connections = connections(&frames, entry, &self.names);
        if connections.len() != requests {
            faults.push(format!(
                "{requests} requests, {} connections on the wire",
                connections.len()
            ));
        }
        let mut served: BTreeMap<&str, usize> = BTreeMap::new();
        for connection in &connections {
            let service = services.iter().find(|s| s.address == connection.to);
            let service = service.context("a connection with no service")?;
            let by = match &connection.answered_by[..] {
                [one] => service.real_servers.iter().find(|(name, _)| name == one),
                _ => None,
            };
            let right = by.is_some_and(|(name, tunnelled)| {
                let passed_on = [((*name).to_owned(), *tunnelled)];
                // What the director serves itself it does not pass on.
                let passed_on = &passed_on[usize::from(*name == director)..];
                connection.path == [director] && connection.passed_on == passed_on
            });
            if !right {
                faults.push(format!("not by the director to one real server, which answers as the VIP: {connection:?}"));
            }
            if let Some((name, _)) = by {
                *served.entry(name).or_default() += 1;
            }
        }
        for name in &real_servers {
            if !served.contains_key(name) {
                faults.push(format!("{name} serves nothing"));
            }
        }

        let mut answers = 0;
        for service in &services {
            let vip = *service.address.ip();
            if asked(&frames, entry, vip) == 0 {
                faults.push(format!("{entry} never asked who has {vip}"));
            }
            let mut claims = claims(&frames, vip);
            answers += claims.remove(director).unwrap_or(0);
            if !claims.is_empty() {
                faults.push(format!(
                    "others than the director say they have {vip}: {claims:?}"
                ));
            }
            let strange = arp(&frames)
                .find(|(_, arp)| arp.sip == vip && owner(&arp.sha, &self.names) != Some(director));
            if let Some((sender, arp)) = strange {
                faults.push(format!("{sender} says {arp}"));
            }
        }
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(format!(
            "{requests} requests, served {}; {answers} answers for the VIP, all of {director}",
            told(&served)
        ))
    }

    /// What somebody who looks into a failure wants to know.
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

/// Counts as they are told.
pub(crate) fn told(counts: &BTreeMap<impl std::fmt::Display, usize>) -> String {
    let counts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    counts.join(", ")
}

/// A service of a director's.
struct Service {
    address: SocketAddrV4,
    /// The real servers, and whether they are reached by a tunnel.
    real_servers: Vec<(&'static str, bool)>,
}

impl Service {
    /// Reads what `ipvsadm -S -n` prints.
    fn read(text: &str) -> Result<Vec<Self>> {
        let mut services: Vec<Self> = Vec::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["-A", "-t", address, ..] => services.push(Self {
                    address: address.parse()?,
                    real_servers: Vec::new(),
                }),
                ["-A", "-f", "1", ..] => services.push(Self {
                    address: MARKED,
                    real_servers: Vec::new(),
                }),
                ["-a", _, _, "-r", real_server, method, ..] => {
                    let real: SocketAddrV4 = real_server.parse()?;
                    let name = MACHINES
                        .iter()
                        .find(|(name, _)| address(name).is_ok_and(|a| a == *real.ip()))
                        .with_context(|| format!("{real_server} is no machine"))?
                        .0;
                    let service = services.last_mut().context("a server of no service")?;
                    service.real_servers.push((name, method == "-i"));
                }
                _ => bail!("ipvsadm prints '{line}'"),
            }
        }
        ensure!(!services.is_empty(), "the director has no service");
        Ok(services)
    }
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
