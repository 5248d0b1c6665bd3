// SPDX-License-Identifier: GPL-2.0

//! What cases build networks from: hosts, which are network namespaces, and wires between them.

pub(crate) mod announce;
pub(crate) mod batch;
pub(crate) mod case;
pub(crate) mod chance;
pub(crate) mod clock;
pub(crate) mod faults;
pub(crate) mod flood;
pub(crate) mod inheritance;
pub(crate) mod kernel_log;
pub(crate) mod module;
pub(crate) mod processors;
pub(crate) mod real_server;
pub(crate) mod skip;
pub(crate) mod table;
pub(crate) mod workers;

use crate::{
    machine,
    tap::Tap,
    wire::{tell, Wire}, //
};
use anyhow::{bail, Context, Result};
use nix::sched::{setns, CloneFlags};
use protocol::Frame;
use skip::Skip;
use std::{
    cell::RefCell,
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    rc::Rc,
};

/// The commands that a person would type to repeat what a case has done.
type Transcript = Rc<RefCell<Vec<String>>>;

/// The laboratory of one case.
pub(crate) struct Lab {
    typed: Transcript,
    hosts: Vec<Host>,
    wires: Vec<Rc<Wire>>,
    /// A remark of the case for the report.
    pub(crate) note: Option<String>,
    /// The taints that the case causes on purpose.
    pub(crate) taints: u64,
}

impl Lab {
    /// Creates an empty laboratory.
    pub(crate) fn new() -> Self {
        Self {
            typed: Transcript::default(),
            hosts: Vec::new(),
            wires: Vec::new(),
            note: None,
            taints: 0,
        }
    }

    /// Creates a host: a namespace of that name, with lo up.
    pub(crate) fn host(&mut self, name: &str) -> Result<Host> {
        self.run(&format!("ip netns add {name}"))?;
        let host = self.enlist(name)?;
        // IPv6 would send frames of its own.
        host.set("net/ipv6/conf/all/disable_ipv6", 1)?;
        host.set("net/ipv6/conf/default/disable_ipv6", 1)?;
        if machine::is_shared() {
            host.forget_settings()?;
        }
        host.ip("link set lo up")?;
        Ok(host)
    }

    /// Creates a namespace from within another, as for a container. Its lo is down.
    pub(crate) fn made_by(&mut self, maker: &Host, name: &str) -> Result<Host> {
        maker.run(&format!("ip netns add {name}"))?;
        self.enlist(name)
    }

    fn enlist(&mut self, name: &str) -> Result<Host> {
        let host = Host {
            name: name.to_owned(),
            inside: Rc::new(File::open(format!("/run/netns/{name}"))?),
            typed: self.typed.clone(),
        };
        self.hosts.push(host.clone());
        Ok(host)
    }

    /// Creates a wire between a device of a host and one of its neighbour, both up. `address` is the neighbour's, for ARP
    /// requests.
    pub(crate) fn wire(
        &mut self,
        (host, device): (&Host, &str),
        (neighbour, end): (&Host, &str),
        address: Ipv4Addr,
    ) -> Result<Rc<Wire>> {
        let number = 2 * self.wires.len() as u8 + 1;
        let (far_mac, near_mac) = ([2, 0, 0, 0, 0, number], [2, 0, 0, 0, 0, number + 1]);
        self.run(&format!(
            "ip link add {device} netns {host} address 02:00:00:00:00:{number:02x} type veth \
             peer name {end} netns {neighbour} address 02:00:00:00:00:{:02x}",
            number + 1,
        ))?;
        host.ip(&format!("link set {device} up"))?;
        neighbour.ip(&format!("link set {end} up"))?;
        let near = neighbour.enter(|| Tap::open(end))??;
        let far = host.enter(|| Tap::open(device))??;
        let name = format!("{host}/{device}--{neighbour}/{end}");
        let wire = Rc::new(Wire::new(name, (near, near_mac), (far, far_mac), address));
        self.wires.push(wire.clone());
        Ok(wire)
    }

    /// Runs a command line outside of any host. It must succeed.
    pub(crate) fn run(&self, command: &str) -> Result<String> {
        self.typed.borrow_mut().push(command.to_owned());
        must(command)
    }

    /// Returns all frames that have passed, in order of time.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        let mut frames: Vec<Frame> = self.wires.iter().flat_map(|wire| wire.seen()).collect();
        frames.sort_by_key(|frame| frame.microseconds);
        frames
    }

    /// Describes the laboratory for the report of a failure.
    pub(crate) fn tell(&self) -> String {
        let mut text = "--- what was done\n".to_owned();
        for command in &*self.typed.borrow() {
            text += &format!("{command}\n");
        }
        for host in &self.hosts {
            text += &format!("--- {host}\n");
            for look in ["ip -br -4 addr", "ip route show table all", "ip neigh", "cat /proc/net/arp_hidden", "grep -s . /proc/sys/net/ipv4/conf/*/hidden /proc/sys/net/ipv4/conf/*/arp_invisible | grep -v :0"] {
                text += &host.try_run(look).map_or_else(|error| error.to_string(), |(_, text)| text);
            }
        }
        text += "--- what passed\n";
        // Only the end of a flood.
        let frames = self.frames();
        text += &tell(&frames[frames.len().saturating_sub(40)..]);
        text
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in &self.hosts {
            drop(machine::shell(&format!("ip netns del {host}")));
        }
    }
}

fn must(command: &str) -> Result<String> {
    let (status, output) = machine::shell(command)?;
    if status != 0 {
        lacking(command)?;
        bail!("'{command}' failed: {output}");
    }
    Ok(output)
}

/// Skips the case if a command failed because the kernel lacks a module. That can happen only in `make check`.
fn lacking(command: &str) -> Result<()> {
    if !machine::is_shared() {
        return Ok(());
    }
    let mut words = command.split_whitespace();
    while let Some(word) = words.next() {
        let module = match word {
            "type" if command.contains("link add") => {
                format!("rtnl-link-{}", words.next().unwrap_or_default())
            }
            "arptables" => "arptable_filter".to_owned(),
            "ipvsadm" => "ip_vs".to_owned(),
            "nft" if command.contains("list hooks") => "nfnetlink_hook".to_owned(),
            "nft" => "nf_tables".to_owned(),
            _ => continue,
        };
        if !machine::has_module(&module)? {
            return Err(Skip(format!("this kernel has no {module}")).into());
        }
    }
    Ok(())
}

/// The ways to conceal a device. Cases try each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// `hidden` = 1.
    Hidden,
    /// `hidden` = 2.
    Strict,
    /// `arp_invisible` = 1.
    Invisible,
}

impl Way {
    /// All ways.
    pub(crate) const ALL: [Way; 3] = [Way::Hidden, Way::Strict, Way::Invisible];

    /// Returns the name of the knob.
    pub(crate) fn knob(self) -> &'static str {
        match self {
            Way::Hidden | Way::Strict => "hidden",
            Way::Invisible => "arp_invisible",
        }
    }

    fn value(self) -> i32 {
        match self {
            Way::Hidden | Way::Invisible => 1,
            Way::Strict => 2,
        }
    }
}

/// A host: a network namespace.
#[derive(Clone)]
pub(crate) struct Host {
    name: String,
    inside: Rc<File>,
    typed: Transcript,
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Host {
    /// Calls `f` in the host's namespace. Sockets and sysctl files that it opens belong to the host.
    pub(crate) fn enter<T>(&self, f: impl FnOnce() -> T) -> Result<T> {
        let outside = File::open("/proc/thread-self/ns/net")?;
        setns(&*self.inside, CloneFlags::CLONE_NEWNET).context("cannot enter a namespace")?;
        let result = f();
        setns(&outside, CloneFlags::CLONE_NEWNET).context("cannot leave a namespace")?;
        Ok(result)
    }

    /// Resets settings that a new namespace inherits from the machine's first one, as far as they affect ARP.
    fn forget_settings(&self) -> Result<()> {
        const ZERO: [&str; 12] = [
            "accept_local",
            "arp_accept",
            "arp_announce",
            "arp_filter",
            "arp_ignore",
            "arp_notify",
            "drop_gratuitous_arp",
            "forwarding",
            "proxy_arp",
            "proxy_arp_pvlan",
            "route_localnet",
            "rp_filter",
        ];
        self.enter(|| {
            for directory in ["all", "default", "lo"] {
                for knob in ZERO {
                    fs::write(format!("/proc/sys/net/ipv4/conf/{directory}/{knob}"), "0")
                        .with_context(|| format!("{directory}/{knob}"))?;
                }
            }
            Ok(())
        })?
    }

    /// Adds a command to the report that is not carried out by a shell.
    pub(crate) fn typed(&self, command: String) {
        self.typed.borrow_mut().push(command);
    }

    /// Runs `ip` on the host. It must succeed.
    pub(crate) fn ip(&self, arguments: &str) -> Result<String> {
        let command = format!("ip -n {self} {arguments}");
        self.typed.borrow_mut().push(command.clone());
        must(&command)
    }

    /// Creates a dummy with an address.
    pub(crate) fn dummy(&self, name: &str, address: &str) -> Result<()> {
        self.ip(&format!("link add {name} up type dummy"))?;
        self.ip(&format!("addr add {address} dev {name}"))?;
        Ok(())
    }

    /// Renames a device that is up. Kernels before 6.2 require it to be down.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<()> {
        let rename = format!("link set {from} name {to}");
        if self.ip(&rename).is_err() {
            self.ip(&format!("link set {from} down"))?;
            self.ip(&rename)?;
            self.ip(&format!("link set {to} up"))?;
        }
        Ok(())
    }

    /// Runs a command line on the host. Returns its exit status and output.
    pub(crate) fn try_run(&self, command: &str) -> Result<(i32, String)> {
        self.enter(|| machine::shell(command))?
    }

    /// Runs a command line on the host. It must succeed.
    pub(crate) fn run(&self, command: &str) -> Result<String> {
        self.typed
            .borrow_mut()
            .push(format!("ip netns exec {self} {command}"));
        let (status, output) = self.try_run(command)?;
        if status != 0 {
            lacking(command)?;
            bail!("{self}# {command}\n{output}");
        }
        Ok(output)
    }

    /// Writes a text to a file below /proc/sys.
    pub(crate) fn write(&self, file: &str, text: &str) -> io::Result<()> {
        self.typed
            .borrow_mut()
            .push(format!("ip netns exec {self} sysctl -w {file}='{text}'"));
        self.enter(|| fs::write(format!("/proc/sys/{file}"), text))
            .map_err(io::Error::other)?
    }

    /// Writes a value to a file below /proc/sys. It must be accepted.
    pub(crate) fn set(&self, file: &str, value: i32) -> Result<()> {
        self.write(file, &value.to_string())
            .with_context(|| format!("{file} does not accept {value}"))
    }

    /// Reads a value from a file below /proc/sys.
    pub(crate) fn get(&self, file: &str) -> Result<i32> {
        let text = self.enter(|| fs::read_to_string(format!("/proc/sys/{file}")))??;
        text.trim()
            .parse()
            .with_context(|| format!("{file}: {text}"))
    }

    /// Sets a knob in a directory of net.ipv4.conf.
    pub(crate) fn conf(&self, directory: &str, knob: &str, value: i32) -> Result<()> {
        self.set(&format!("net/ipv4/conf/{directory}/{knob}"), value)
    }

    /// Prepares a device for proxy ARP: forwards, and replies without the random delay.
    pub(crate) fn may_proxy(&self, device: &str) -> Result<()> {
        self.conf("all", "forwarding", 1)?;
        self.set(&format!("net/ipv4/neigh/{device}/proxy_delay"), 0)
    }

    /// Masquerades all packets out of a device.
    pub(crate) fn masquerade(&self, device: &str) -> Result<()> {
        self.run("nft add table ip nat")?;
        self.run("nft 'add chain ip nat post { type nat hook postrouting priority 100; }'")?;
        let rule = format!("nft add rule ip nat post oifname {device} masquerade");
        self.run(&rule).map(drop)
    }

    /// Conceals the addresses of a device: the two lines of the README.
    pub(crate) fn conceal(&self, device: &str, way: Way) -> Result<()> {
        self.conf("all", way.knob(), 1)?;
        self.conf(device, way.knob(), way.value())
    }

    /// Undoes [`Self::conceal`] for the device.
    pub(crate) fn reveal(&self, device: &str, way: Way) -> Result<()> {
        self.conf(device, way.knob(), 0)
    }

    /// Sends a datagram from an address of the host to a port without a listener.
    pub(crate) fn say(&self, from: Ipv4Addr, to: Ipv4Addr) -> Result<()> {
        self.typed.borrow_mut().push(format!(
            "ip netns exec {self} nc -u -s {from} {to} 9 </dev/null"
        ));
        self.enter(|| UdpSocket::bind((from, 0))?.send_to(b"hello", (to, 9)))?
            .with_context(|| format!("cannot send from {from} to {to}"))?;
        Ok(())
    }

    /// Returns the source address that the host selects for a destination.
    pub(crate) fn source_to(&self, to: Ipv4Addr) -> Result<Ipv4Addr> {
        self.typed
            .borrow_mut()
            .push(format!("ip -n {self} route get {to}"));
        let source = self.enter(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(SocketAddrV4::new(to, 9))?;
            socket.local_addr()
        })?;
        match source.with_context(|| format!("no route to {to}"))? {
            std::net::SocketAddr::V4(source) => Ok(*source.ip()),
            other => bail!("unexpected source {other}"),
        }
    }
}
