// SPDX-License-Identifier: GPL-2.0

//! `make bench`: what events cost a host, in instructions.
//!
//! The machine has one processor and a time stamp counter that counts its instructions. On one processor, what
//! a frame that is sent over a veth pair sets off is over when the system call returns: the receiving end's
//! softirq runs before that. So the counter is read before and after one system call, many times. Ticks and
//! deferred work of the kernel's only ever add to that: a low quantile is the cost.

use crate::{
    lab::{
        module::{load, unload},
        Host, Lab, Way,
    },
    line::Line,
    netlink::{Netlink, Request},
    tap::Tap,
};
use anyhow::{bail, Context, Result};
use etherparse::PacketBuilder;
use nix::{
    kmod,
    net::if_::if_nametoindex,
    sched::{unshare, CloneFlags},
    sys::socket::{setsockopt, sockopt},
};
use protocol::{
    bench::{Event, Figure, Setup, Size, Unit},
    frame::{Arp, Mac, BROADCAST},
    Report,
};
use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    thread,
    time::Duration,
};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);
/// Behind eth1. It is not the address of anyone, so that nothing is answered.
const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 77);
/// Where there is no route to.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// What is added to eth0, to see what that costs.
const ADDED: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 200);

const HOST_MAC: Mac = [2, 0, 0, 0, 0, 1];
const NEIGHBOUR_MAC: Mac = [2, 0, 0, 0, 0, 2];
const HOST_MAC_1: Mac = [2, 0, 0, 0, 0, 3];
const FAR_MAC: Mac = [2, 0, 0, 0, 0, 4];

/// What packets and look-ups cost.
const ARP: &[Event] = &[
    Event::FrameSent,
    Event::FrameUntaken,
    Event::ArpVip,
    Event::ArpOwn,
    Event::ArpForeign,
];
const SELECTION: &[Event] = &[
    Event::ConnectRoute,
    Event::ConnectOwn,
    Event::ConnectFallback,
    Event::IcmpError,
    Event::Masquerade,
];
/// What the operator does.
const OPERATION: &[Event] = &[
    Event::KnobOfKernel,
    Event::AddressAdd,
    Event::DeviceAdd,
    Event::NamespaceAdd,
];

/// The sizes of the hosts.
const SIZES: &[Size] = &[
    size(1, 3),
    size(100, 3),
    size(1_000, 3),
    size(10_000, 3),
    size(1, 100),
    size(1, 1_000),
    size(10_000, 1_000),
];

const fn size(vips: u32, interfaces: u32) -> Size {
    Size {
        vips,
        interfaces,
        namespaces: 0,
    }
}

/// Measures everything, and reports each figure.
pub(crate) fn run(quick: bool, line: &mut Line) -> Result<()> {
    let sizes = if quick { &SIZES[..1] } else { SIZES };
    for &size in sizes {
        line.report(&Report::Note(format!(
            "{} addresses, {} interfaces",
            size.vips, size.interfaces
        )))?;
        let mut site = Site::new(size, line)?;
        site.packets()?;
        site.operations()?;
        site.memory()?;
    }
    Ok(())
}

/// The counter of instructions.
#[cfg(target_arch = "x86_64")]
fn now() -> u64 {
    // SAFETY: Every x86-64 processor has the instruction, and Linux lets programs use it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The counter of instructions. It runs at 1 GHz, so that it counts nanoseconds.
#[cfg(target_arch = "aarch64")]
fn now() -> u64 {
    let count: u64;
    // SAFETY: Every 64-bit Arm processor has the register, and Linux lets programs read it.
    unsafe { core::arch::asm!("isb", "mrs {}, cntvct_el0", out(reg) count) };
    count
}

/// What `f` takes.
fn count<T>(f: impl FnOnce() -> Result<T>) -> Result<(u64, T)> {
    let before = now();
    let result = f();
    let after = now();
    Ok((after - before, result?))
}

/// The `n`th address on lo, from 1.
fn vip(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 0).to_bits() + n)
}

/// The network of the benchmark:
///
/// ```text
///   neighbour            host                           far
///   eth0 10.0.0.2/16 --- eth0 10.0.0.1/16
///                        eth1 (no address) ------------ eth0 (no address)
///                        lo   10.1.0.1/32 ... (VIPs)
///                        d3 ... (dummies)
/// ```
struct Site<'a> {
    line: &'a mut Line,
    size: Size,
    lab: Lab,
    host: Host,
    elsewhere: Host,
    from_neighbour: Tap,
    to_nowhere: Tap,
    from_far: Tap,
    netlink: Netlink,
    eth0: u32,
    /// How many flows there were, for one that is new.
    flows: u16,
    /// How many neighbours were asked for, for one that is new.
    targets: u32,
}

impl<'a> Site<'a> {
    fn new(size: Size, line: &'a mut Line) -> Result<Self> {
        let mut lab = Lab::new();
        unload()?;
        let host = lab.host("host")?;
        let neighbour = lab.host("neighbour")?;
        let far = lab.host("far")?;
        let elsewhere = lab.host("elsewhere")?;
        for (device, neighbour, first) in [("eth0", &neighbour, 1), ("eth1", &far, 3)] {
            lab.run(&format!(
                "ip link add {device} netns host address 02:00:00:00:00:0{first} type veth \
                 peer name eth0 netns {neighbour} address 02:00:00:00:00:0{}",
                first + 1
            ))?;
            host.ip(&format!("link set {device} up"))?;
            neighbour.ip("link set eth0 up")?;
        }
        host.ip("addr add 10.0.0.1/16 dev eth0")?;
        neighbour.ip("addr add 10.0.0.2/16 dev eth0")?;
        elsewhere.ip("addr add 10.1.0.1/32 dev lo")?;
        host.ip("route add 10.9.0.0/24 dev eth1")?;
        for addr in ["10.9.0.77", "10.9.0.2"] {
            host.ip(&format!(
                "neigh add {addr} lladdr 02:00:00:00:00:04 dev eth1 nud permanent"
            ))?;
        }
        host.ip("neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0 nud permanent")?;
        for (file, value) in [
            ("ip_forward", 1),
            ("icmp_errors_use_inbound_ifaddr", 1),
            ("icmp_ratemask", 0),
            ("icmp_msgs_per_sec", 1_000_000),
            ("icmp_msgs_burst", 1_000_000),
        ] {
            host.set(&format!("net/ipv4/{file}"), value)?;
        }
        host.run(
            "nft 'add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; \
             add rule ip nat post ip daddr 10.9.0.77 masquerade'",
        )?;
        batch(&host, 1..=size.vips, |n| {
            format!("addr add {}/32 dev lo", vip(n))
        })?;
        batch(&host, 3..size.interfaces, |n| {
            format!("link add d{n} up type dummy")
        })?;
        let from_neighbour = neighbour.enter(|| Tap::sender("eth0"))??;
        neighbour.ip("link add dummy0 up type dummy")?;
        let to_nowhere = neighbour.enter(|| Tap::sender("dummy0"))??;
        let from_far = far.enter(|| Tap::sender("eth0"))??;
        let netlink = host.enter(Netlink::open)??;
        let eth0 = host.enter(|| if_nametoindex("eth0"))??;
        Ok(Self {
            line,
            size,
            lab,
            host,
            elsewhere,
            from_neighbour,
            to_nowhere,
            from_far,
            netlink,
            eth0,
            flows: 0,
            targets: 0,
        })
    }

    /// What packets cost: without the module first and last, which shows what drifts.
    fn packets(&mut self) -> Result<()> {
        self.without(0)?;
        load()?;
        self.measure(Setup::Loaded, 0, &[ARP, &[Event::Announce], SELECTION])?;
        self.elsewhere.conceal("lo", Way::Hidden)?;
        self.measure(Setup::Elsewhere, 0, &[ARP, &[Event::Announce], SELECTION])?;
        self.elsewhere.reveal("lo", Way::Hidden)?;
        self.host.conceal("eth1", Way::Hidden)?;
        self.measure(Setup::Eth1Hidden, 0, &[ARP, SELECTION])?;
        self.host.reveal("eth1", Way::Hidden)?;
        self.host.conceal("lo", Way::Hidden)?;
        self.measure(Setup::Hidden, 0, &[ARP, &[Event::Announce], SELECTION])?;
        self.host.reveal("lo", Way::Hidden)?;
        unload()?;
        self.peers()?;
        self.without(1)
    }

    fn without(&mut self, round: u32) -> Result<()> {
        self.measure(Setup::Without, round, &[ARP, &[Event::Announce], SELECTION])
    }

    /// What the kernel has instead.
    fn peers(&mut self) -> Result<()> {
        self.host.conf("all", "arp_ignore", 1)?;
        self.measure(Setup::ArpIgnore, 0, &[ARP])?;
        self.host.conf("all", "arp_ignore", 0)?;

        self.host.conf("all", "arp_announce", 2)?;
        self.measure(Setup::ArpAnnounce, 0, &[&[Event::Announce]])?;
        self.host.conf("all", "arp_announce", 0)?;

        let vips = 1..=self.size.vips;
        // A name with many addresses: one run of arptables makes a rule of each.
        fs::write(
            "/etc/hosts",
            lines(vips.clone(), |n| format!("{} vips", vip(n))),
        )?;
        fs::write("/etc/nsswitch.conf", "hosts: files\n")?;
        fs::write("/etc/host.conf", "multi on\n")?;
        self.host.run("arptables -A INPUT -d vips -j DROP")?;
        self.measure(Setup::ArptablesDrop, 0, &[ARP])?;
        self.host.run("arptables -F")?;
        self.host.run(&format!(
            "arptables -A OUTPUT -s vips -j mangle --mangle-ip-s {HOST}"
        ))?;
        self.measure(Setup::ArptablesMangle, 0, &[&[Event::Announce]])?;
        self.host.run("arptables -F")?;
        // The hooks stay for as long as the module, with or without rules.
        self.lab
            .run("rmmod arpt_mangle arptable_filter arp_tables")?;

        let chain = "add table arp bench\n\
                     add chain arp bench in { type filter hook input priority 0; }\n";
        let rules = lines(vips.clone(), |n| {
            format!("add rule arp bench in arp daddr ip {} drop", vip(n))
        });
        self.nft(Setup::NftRules, &format!("{chain}{rules}"))?;
        let elements: Vec<String> = vips.map(|n| vip(n).to_string()).collect();
        self.nft(
            Setup::NftSet,
            &format!(
                "{chain}add set arp bench vips {{ type ipv4_addr; }}\n\
                 add element arp bench vips {{ {} }}\n\
                 add rule arp bench in arp daddr ip @vips drop\n",
                elements.join(",")
            ),
        )
    }

    fn nft(&mut self, setup: Setup, script: &str) -> Result<()> {
        fs::write("/tmp/nft", script)?;
        self.host.run("nft -f /tmp/nft")?;
        self.measure(setup, 0, &[ARP])?;
        self.host.run("nft delete table arp bench")?;
        Ok(())
    }

    /// What the operator's doings cost.
    fn operations(&mut self) -> Result<()> {
        self.measure(Setup::Without, 0, &[OPERATION])?;
        load()?;
        self.measure(Setup::Loaded, 0, &[OPERATION])?;
        // The other half of the flag.
        self.host.conf("all", "hidden", 1)?;
        self.measure(Setup::Loaded, 0, &[&[Event::KnobFirst]])?;
        self.host.conceal("lo", Way::Hidden)?;
        self.measure(Setup::Hidden, 0, &[&[Event::KnobNext], OPERATION])?;
        unload()?;
        self.measure(Setup::Without, 1, &[OPERATION])
    }

    /// What the module takes of memory, and how long loading and unloading take.
    fn memory(&mut self) -> Result<()> {
        self.load_and_unload()?;
        if self.size == SIZES[0] {
            const MORE: u32 = 100;
            for n in 0..MORE {
                self.lab.run(&format!("ip netns add more{n}"))?;
            }
            self.size.namespaces = MORE;
            self.load_and_unload()?;
            for n in 0..MORE {
                self.lab.run(&format!("ip netns del more{n}"))?;
            }
            self.size.namespaces = 0;
        }
        Ok(())
    }

    fn load_and_unload(&mut self) -> Result<()> {
        let mut samples = [const { Vec::new() }; 4];
        let [load, unload, memory_loaded, memory_hidden] = &mut samples;
        let module = File::open("/arp_hidden.ko")?;
        for _ in 0..5 {
            let before = used_memory()?;
            load.push(
                count(|| {
                    Ok(kmod::finit_module(
                        &module,
                        c"",
                        kmod::ModuleInitFlags::empty(),
                    )?)
                })?
                .0,
            );
            let loaded = used_memory()?;
            self.host.conceal("lo", Way::Hidden)?;
            let hidden = used_memory()?;
            unload.push(
                count(|| {
                    Ok(kmod::delete_module(
                        c"arp_hidden",
                        kmod::DeleteModuleFlags::empty(),
                    )?)
                })?
                .0,
            );
            memory_loaded.push(loaded.saturating_sub(before));
            memory_hidden.push(hidden.saturating_sub(loaded));
        }
        let events = [
            Event::Load,
            Event::Unload,
            Event::MemoryLoaded,
            Event::MemoryHidden,
        ];
        for (event, samples) in events.into_iter().zip(samples) {
            self.report(event, Setup::Hidden, 0, samples)?;
        }
        Ok(())
    }

    fn measure(&mut self, setup: Setup, round: u32, events: &[&[Event]]) -> Result<()> {
        for &event in events.iter().copied().flatten() {
            let (warm_up, wanted) = match event.unit() {
                Unit::Instructions => (8, 41),
                Unit::Nanoseconds | Unit::Bytes => (1, 15),
            };
            // The same neighbours each time: they fall into the same buckets.
            self.targets = 0;
            let samples: Result<Vec<u64>> =
                (0..warm_up + wanted).map(|_| self.sample(event)).collect();
            let mut samples =
                samples.with_context(|| format!("{event:?}, {setup:?}, {:?}", self.size))?;
            self.report(event, setup, round, samples.split_off(warm_up))?;
            if event == Event::Announce {
                self.host.ip("neigh flush dev eth0")?;
            }
        }
        Ok(())
    }

    fn report(
        &mut self,
        event: Event,
        setup: Setup,
        round: u32,
        mut samples: Vec<u64>,
    ) -> Result<()> {
        samples.sort_unstable();
        let at = |tenths: usize| samples[(samples.len() - 1) * tenths / 10];
        let median = at(5);
        self.line.report(&Report::Figure(Figure {
            size: self.size,
            event,
            setup,
            round,
            value: match event.unit() {
                Unit::Instructions => at(1),
                Unit::Nanoseconds => at(0),
                Unit::Bytes => median,
            },
            median,
        }))
    }

    /// Lets an event happen once.
    fn sample(&mut self, event: Event) -> Result<u64> {
        match event {
            Event::FrameSent => {
                let frame = untaken();
                Ok(count(|| self.to_nowhere.send(&frame))?.0)
            }
            Event::FrameUntaken => {
                let frame = untaken();
                Ok(count(|| self.from_neighbour.send(&frame))?.0)
            }
            Event::ArpVip => self.ask(vip(self.size.vips.div_ceil(2))),
            Event::ArpOwn => self.ask(HOST),
            Event::ArpForeign => self.ask(NOBODY),
            Event::Announce => {
                self.targets += 1;
                let target = Ipv4Addr::from_bits(
                    Ipv4Addr::new(10, 0, 1, 0).to_bits() + self.targets % 0x4000,
                );
                let from = vip(self.size.vips.div_ceil(2));
                let socket = self.host.enter(|| UdpSocket::bind((from, 0)))??;
                Ok(count(|| Ok(socket.send_to(b"hello", (target, 9))?))?.0)
            }
            Event::ConnectRoute => self.connect(None, NEIGHBOUR),
            Event::ConnectOwn => self.connect(Some("eth0"), NOWHERE),
            Event::ConnectFallback => self.connect(Some("eth1"), NOWHERE),
            Event::IcmpError => {
                let packet = PacketBuilder::ethernet2(FAR_MAC, HOST_MAC_1)
                    .ipv4([10, 9, 0, 2], NEIGHBOUR.octets(), 1)
                    .udp(9, 9);
                let mut frame = Vec::new();
                packet.write(&mut frame, b"hello")?;
                Ok(count(|| self.from_far.send(&frame))?.0)
            }
            Event::Masquerade => {
                self.flows = self.flows.checked_add(1).unwrap_or(1);
                let packet = PacketBuilder::ethernet2(NEIGHBOUR_MAC, HOST_MAC)
                    .ipv4(NEIGHBOUR.octets(), FAR.octets(), 64)
                    .udp(self.flows, 9);
                let mut frame = Vec::new();
                packet.write(&mut frame, b"hello")?;
                Ok(count(|| self.from_neighbour.send(&frame))?.0)
            }
            Event::KnobFirst => {
                self.host.conf("lo", "hidden", 0)?;
                self.knob("lo", "hidden", "1")
            }
            Event::KnobNext => {
                self.host.conf("eth1", "hidden", 0)?;
                self.knob("eth1", "hidden", "1")
            }
            Event::KnobOfKernel => self.knob("lo", "arp_ignore", "0"),
            Event::AddressAdd => {
                let taken = self.request(&Request::add_address(self.eth0, ADDED))?;
                self.request(&Request::delete_address(self.eth0, ADDED))?;
                Ok(taken)
            }
            Event::DeviceAdd => {
                let taken = self.request(&Request::add_dummy("added"))?;
                self.request(&Request::delete_link("added"))?;
                Ok(taken)
            }
            Event::NamespaceAdd => {
                let made = thread::spawn(|| count(|| Ok(unshare(CloneFlags::CLONE_NEWNET)?)));
                let (taken, ()) = made.join().ok().context("the thread panicked")??;
                // It goes in the background.
                thread::sleep(Duration::from_millis(200));
                Ok(taken)
            }
            Event::Load | Event::Unload | Event::MemoryLoaded | Event::MemoryHidden => {
                unreachable!("measured by load_and_unload")
            }
        }
    }

    fn ask(&self, tip: Ipv4Addr) -> Result<u64> {
        let request = Arp {
            from: NEIGHBOUR_MAC,
            to: BROADCAST,
            op: 1,
            sha: NEIGHBOUR_MAC,
            sip: NEIGHBOUR,
            tha: [0; 6],
            tip,
        };
        let frame = request.bytes();
        Ok(count(|| self.from_neighbour.send(&frame))?.0)
    }

    fn connect(&self, device: Option<&str>, to: Ipv4Addr) -> Result<u64> {
        let socket = self
            .host
            .enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
        if let Some(device) = device {
            setsockopt(&socket, sockopt::BindToDevice, &device.into())?;
        }
        let to = SocketAddrV4::new(to, 9);
        Ok(count(|| Ok(socket.connect(to)?))?.0)
    }

    fn knob(&self, directory: &str, knob: &str, value: &str) -> Result<u64> {
        let path = format!("/proc/sys/net/ipv4/conf/{directory}/{knob}");
        let mut file = self
            .host
            .enter(|| File::options().write(true).open(path))??;
        Ok(count(|| Ok(std::io::Write::write_all(&mut file, value.as_bytes())?))?.0)
    }

    fn request(&self, request: &Request) -> Result<u64> {
        let (taken, ()) = count(|| self.netlink.send(request))?;
        self.netlink.outcome()?;
        Ok(taken)
    }
}

/// A line for each number.
fn lines(numbers: impl Iterator<Item = u32>, line: impl Fn(u32) -> String) -> String {
    numbers.fold(String::new(), |text, n| text + &line(n) + "\n")
}

/// Runs many commands of `ip` at once on a host.
fn batch(
    host: &Host,
    numbers: impl Iterator<Item = u32>,
    command: impl Fn(u32) -> String,
) -> Result<()> {
    fs::write("/tmp/batch", lines(numbers, command))?;
    host.ip("-batch /tmp/batch")?;
    Ok(())
}

/// A broadcast frame of a type that nobody takes, as long as an ARP request.
fn untaken() -> Vec<u8> {
    [&BROADCAST[..], &NEIGHBOUR_MAC, &[0x88, 0xb5], &[0; 28]].concat()
}

/// The memory that the kernel has in use: the objects of its slabs, allocations too large for slabs, and what
/// is mapped page by page.
fn used_memory() -> Result<u64> {
    // What was freed under RCU, and then what slabs keep at hand for the next allocation.
    thread::sleep(Duration::from_millis(500));
    for cache in fs::read_dir("/sys/kernel/slab")? {
        fs::write(cache?.path().join("shrink"), "1")?;
    }
    const PAGE: u64 = 4096;
    let mut used = 0;
    let mut pages_of_slabs = 0;
    // name, active objects, objects, object size, objects a slab, pages a slab : tunables : active slabs, slabs
    for line in fs::read_to_string("/proc/slabinfo")?.lines().skip(2) {
        let numbers: Vec<u64> = line
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let [active, _, size, _, pages, .., slabs, _] = numbers[..] else {
            bail!("/proc/slabinfo: {line}");
        };
        used += active * size;
        pages_of_slabs += slabs * pages * PAGE;
    }
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let of = |name: &str| -> Result<u64> {
        let kib: u64 = meminfo
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"))
            .and_then(|number| number.parse().ok())
            .with_context(|| format!("/proc/meminfo has no {name}"))?;
        Ok(kib << 10)
    };
    let large = of("Slab:")?.saturating_sub(pages_of_slabs);
    Ok(used + large + of("VmallocUsed:")?)
}
