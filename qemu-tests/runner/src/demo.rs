// SPDX-License-Identifier: GPL-2.0

//! `make demo`: an LVS/DR cluster of virtual machines. The same experiment twice: with the stock kernel alone,
//! and with the module in the real servers. Every number is counted, in the switch's recording or in what the
//! client received.

use crate::{
    pcap,
    switch::{Cable, Switch},
    vm::{accelerator, Config, Vm},
    Lab, //
};
use anyhow::Result;
use etherparse::{ArpEthIpv4Packet, SlicedPacket, TransportSlice};
use protocol::Frame;
use std::{
    io::{stdout, Write},
    net::Ipv4Addr,
    ops::RangeInclusive,
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

/// Pages that the client asks for.
const PAGES: usize = 30;
/// Downloads that the client begins, and how often it resolves the VIP anew during each.
const DOWNLOADS: usize = 6;
const RENEWALS: usize = 3;

/// A page that comes slowly, in parts. The last line is the server's name, as on the other page.
const DOWNLOAD: &str = "\
#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
for part in 1 2 3 4 5 6 7 8; do echo part $part; sleep 0.2; done
cat /www/index.html
";

/// The cluster's machines: names, and the last byte of their addresses.
const MACHINES: [(&str, u8); 4] = [("client", 1), ("director", 2), ("rs1", 11), ("rs2", 12)];

const INTRODUCTION: &str = "
  One service address, the VIP 10.0.0.100, on three machines of one LAN (LVS direct routing):

        client            director              rs1                 rs2
       10.0.0.1          10.0.0.2            10.0.0.11           10.0.0.12
                       VIP, IPVS          VIP on lo, HTTP     VIP on lo, HTTP
          |                  |                   |                   |
     -----+------------------+-------------------+-------------------+-----

  The client should reach the director, which hands its connections to the real servers rs1 and
  rs2 in turn. They answer the client themselves, in the VIP's name, so they must have the VIP too.
  The ARP problem: the client asks the LAN \"who has 10.0.0.100?\", and Linux says \"I have\" for any
  address that is its own, whichever interface has it. Three machines say so; the fastest wins.
";

/// Runs the demonstration. It succeeds if the second half is as the module promises.
pub(crate) fn run(lab: &Lab) -> Result<ExitCode> {
    let start = Instant::now();
    println!("{INTRODUCTION}");
    let (lan, cables) = Switch::new(MACHINES.map(|(name, _)| name))?;
    let told = story(lab, &lan, &cables);
    let path = lab.logs.join("demo.pcapng");
    pcap::write(&path, &lan.recording())?;
    println!(
        "  Every frame is in {} (Wireshark opens it).",
        path.display()
    );
    let kept = told?;
    println!("  It took {} s.", start.elapsed().as_secs());
    Ok(if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The demonstration itself: whether all was as promised and no kernel complained.
fn story(lab: &Lab, lan: &Switch, cables: &[Cable; 4]) -> Result<bool> {
    let release = &lab.kernel.release;
    let mut cluster = step(
        &format!(
            "Booting the four, stock kernel {release}, {}",
            accelerator()
        ),
        || Cluster::boot(lab, lan, cables),
    )?;
    let without = step("First half: the stock kernel alone", || {
        cluster.experiment()
    })?;
    for command in [
        "insmod /arp_hidden.ko",
        "sysctl net.ipv4.conf.all.hidden=1 net.ipv4.conf.lo.hidden=1",
    ] {
        step(&format!("On rs1 and rs2: {command}"), || {
            cluster.rs1.shell(command)?;
            cluster.rs2.shell(command)
        })?;
    }
    let with = step("Second half: the same again", || cluster.experiment())?;
    let complaints = step("Switching off", || cluster.finish())?;

    let broken = compare(&without, &with);
    if !complaints.is_empty() {
        println!("\n  FAILED: a kernel complained:");
        complaints.iter().for_each(|line| println!("  {line}"));
    }
    if broken > 0 {
        println!("\n  FAILED: {broken} numbers are not what the module promises, see above.");
    }
    println!();
    Ok(broken == 0 && complaints.is_empty())
}

/// Says what is being done, does it, says how long it took.
fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    print!("{what} ... ");
    stdout().flush()?;
    let result = work().inspect_err(|_| println!("failed"))?;
    println!("{} s", start.elapsed().as_secs());
    Ok(result)
}

/// The machines and the switch between them.
struct Cluster<'a> {
    client: Vm,
    director: Vm,
    rs1: Vm,
    rs2: Vm,
    lan: &'a Switch,
}

impl<'a> Cluster<'a> {
    fn boot(lab: &Lab, lan: &'a Switch, cables: &[Cable; 4]) -> Result<Self> {
        let start = |machine: usize| {
            let (name, number) = MACHINES[machine];
            Vm::start(&Config {
                name,
                kernel: &lab.kernel.binary(),
                initramfs: &lab.initramfs,
                logs: &lab.logs,
                cpus: 1,
                memory: 256,
                devices: cables[machine].card(mac(number)),
                count_instructions: false,
            })
        };
        let mut cluster = Self {
            client: start(0)?,
            director: start(1)?,
            rs1: start(2)?,
            rs2: start(3)?,
            lan,
        };
        cluster.set_up()?;
        Ok(cluster)
    }

    /// What an administrator types on each machine.
    fn set_up(&mut self) -> Result<()> {
        let Self {
            client,
            director,
            rs1,
            rs2,
            ..
        } = self;
        for (vm, (_, number)) in [&mut *client, director, rs1, rs2].into_iter().zip(MACHINES) {
            vm.ready()?;
            vm.shell("modprobe virtio_net")?;
            vm.shell(&format!("ip addr add 10.0.0.{number}/24 dev eth0"))?;
            vm.shell("ip link set eth0 up")?;
        }
        director.shell("ip addr add 10.0.0.100/32 dev eth0")?;
        director.shell("modprobe ip_vs && modprobe ip_vs_rr")?;
        director.shell("ipvsadm -A -t 10.0.0.100:80 -s rr")?;
        director.shell("ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.11 -g")?;
        director.shell("ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.12 -g")?;
        for (real_server, name) in [(rs1, "rs1"), (rs2, "rs2")] {
            real_server.shell("ip addr add 10.0.0.100/32 dev lo")?;
            real_server.shell("mkdir -p /www/cgi-bin")?;
            real_server.shell(&format!("echo {name} >/www/index.html"))?;
            real_server.shell(&format!(
                "cat >/www/cgi-bin/download <<'end'\n{DOWNLOAD}end"
            ))?;
            real_server.shell("chmod +x /www/cgi-bin/download")?;
            real_server.shell("httpd -h /www")?;
        }
        Ok(())
    }

    /// The experiment of each half.
    fn experiment(&mut self) -> Result<Half> {
        let start = self.lan.recording().len();
        // A client that has not talked to the VIP for a minute does not know any more who has it, and asks. This
        // one forgets at once.
        let ask_for_pages = format!(
            "for page in $(seq {PAGES}); do
                ip neigh flush to 10.0.0.100
                wget -q -T 10 -O - http://10.0.0.100/ 2>/dev/null
            done"
        );
        let pages = self.requests(PAGES, &ask_for_pages)?;
        let downloads = self.requests(
            DOWNLOADS,
            &format!(
                "for download in $(seq {DOWNLOADS}); do
                    ip neigh flush to 10.0.0.100
                    wget -q -T 10 -O - http://10.0.0.100/cgi-bin/download 2>/dev/null | tail -n 1 &
                    for renewal in $(seq {RENEWALS}); do sleep 0.4; ip neigh flush to 10.0.0.100; done
                    wait
                done"
            ),
        )?;
        self.director
            .shell("ipvsadm -d -t 10.0.0.100:80 -r 10.0.0.12")?;
        self.rs2.shell("killall httpd")?;
        let maintenance = self.requests(PAGES, &ask_for_pages)?;
        self.rs2.shell("httpd -h /www")?;
        self.director
            .shell("ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.12 -g")?;
        // The slowest answer to the last question is under way.
        sleep(Duration::from_millis(500));
        let frames = self.lan.recording().split_off(start);
        Ok(Half {
            pages,
            downloads,
            maintenance,
            frames,
        })
    }

    /// Lets the client send requests with a script that prints the name of the server of each that succeeds.
    fn requests(&mut self, number: usize, script: &str) -> Result<Requests> {
        // The real servers forget, too: they have to ask where the client is, and all hear in whose name they do.
        self.rs1.shell("ip neigh flush dev eth0")?;
        self.rs2.shell("ip neigh flush dev eth0")?;
        let start = self.lan.recording().len();
        let (_, output) = self.client.try_shell(script)?;
        let connections = connections(&self.lan.recording()[start..]);
        let served = |name| output.lines().filter(|line| *line == name).count();
        let (by_rs1, by_rs2) = (served("rs1"), served("rs2"));
        Ok(Requests {
            by_rs1,
            by_rs2,
            failed: number - by_rs1 - by_rs2,
            connections,
        })
    }

    /// Switches all machines off. What their kernels complained of.
    fn finish(self) -> Result<Vec<String>> {
        let mut complaints = Vec::new();
        let vms = [self.client, self.director, self.rs1, self.rs2];
        for (vm, (name, _)) in vms.into_iter().zip(MACHINES) {
            let lines = vm.finish()?;
            complaints.extend(lines.iter().map(|line| format!("{name}: {line}")));
        }
        Ok(complaints)
    }
}

/// What came of the client's requests.
struct Requests {
    by_rs1: usize,
    by_rs2: usize,
    failed: usize,
    connections: Vec<Connection>,
}

impl Requests {
    /// How many connections began at a machine.
    fn began_at(&self, name: &str) -> usize {
        self.connections
            .iter()
            .filter(|connection| connection.path[0] == name)
            .count()
    }

    /// How many connections had packets sent to more than one machine.
    fn wandered(&self) -> usize {
        self.connections
            .iter()
            .filter(|connection| connection.path.len() > 1)
            .count()
    }
}

/// A TCP connection of the client's with the VIP, as seen on the wire.
struct Connection {
    port: u16,
    sequence: u32,
    /// The machines to which the client sent its packets, each once.
    path: Vec<&'static str>,
}

/// What was measured in one half.
struct Half {
    /// Both real servers in service.
    pages: Requests,
    /// The same, but the client resolves the VIP anew during each request.
    downloads: Requests,
    /// rs2 out of service.
    maintenance: Requests,
    /// What the switch recorded.
    frames: Vec<Frame>,
}

impl Half {
    /// How often the client asked who has the VIP.
    fn asked(&self) -> usize {
        arp(&self.frames)
            .filter(|(name, packet)| *name == "client" && packet.target_ipv4_addr() == VIP)
            .count()
    }

    /// How many ARP packets of a machine said that it has the VIP: answers, and questions in the VIP's name.
    fn claimed(&self, name: &str) -> usize {
        arp(&self.frames)
            .filter(|(sender, packet)| *sender == name && packet.sender_ipv4_addr() == VIP)
            .count()
    }

    /// A sum over all requests.
    fn total(&self, count: impl Fn(&Requests) -> usize) -> usize {
        count(&self.pages) + count(&self.downloads) + count(&self.maintenance)
    }

    /// How many connections there were.
    fn connections(&self) -> usize {
        self.total(|requests| requests.connections.len())
    }

    /// How many connections did not begin at the director.
    fn past_director(&self) -> usize {
        self.connections() - self.total(|requests| requests.began_at("director"))
    }

    /// How many requests failed.
    fn failed(&self) -> usize {
        self.total(|requests| requests.failed)
    }
}

/// The ARP packets among frames, each with its sender's name.
fn arp(frames: &[Frame]) -> impl Iterator<Item = (&str, ArpEthIpv4Packet)> {
    frames.iter().filter_map(|frame| {
        let net = SlicedPacket::from_ethernet(&frame.bytes).ok()?.net?;
        let packet = net.arp_ref()?.to_packet().try_eth_ipv4().ok()?;
        Some((frame.wire.as_str(), packet))
    })
}

/// The client's connections with the VIP.
fn connections(frames: &[Frame]) -> Vec<Connection> {
    let mut connections: Vec<Connection> = Vec::new();
    for frame in frames.iter().filter(|frame| frame.wire == "client") {
        let Ok(packet) = SlicedPacket::from_ethernet(&frame.bytes) else {
            continue;
        };
        let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
            continue;
        };
        let Some((to, _)) = MACHINES
            .iter()
            .find(|(_, number)| frame.bytes.starts_with(&mac(*number)))
        else {
            continue;
        };
        let (port, sequence) = (tcp.source_port(), tcp.sequence_number());
        // The latest with this port, unless this packet begins another one.
        let known = connections
            .iter_mut()
            .rfind(|known| known.port == port && (!tcp.syn() || known.sequence == sequence));
        match known {
            Some(known) if known.path.contains(to) => {}
            Some(known) => known.path.push(to),
            None if tcp.syn() => connections.push(Connection {
                port,
                sequence,
                path: vec![to],
            }),
            // What is left of a connection of an earlier request.
            None => {}
        }
    }
    connections
}

/// A machine's hardware address: locally administered, with its IP address in it.
fn mac(number: u8) -> [u8; 6] {
    [2, 0, 10, 0, 0, number]
}

/// Prints both halves side by side. How many numbers of the second are not as promised.
fn compare(without: &Half, with: &Half) -> usize {
    const NONE: RangeInclusive<usize> = 0..=0;
    const SOME: RangeInclusive<usize> = 1..=usize::MAX;

    let mut broken = 0;
    let mut row = |what: &str, count: &dyn Fn(&Half) -> usize, promised: RangeInclusive<usize>| {
        let (before, after) = (count(without), count(with));
        let kept = promised.contains(&after);
        broken += usize::from(!kept);
        let verdict = if kept { "" } else { "  NOT AS PROMISED" };
        println!("    {what:<56}{before:>12}{after:>12}{verdict}");
    };

    println!("\n{:60}{:>12}{:>12}", "", "without the", "with lo");
    println!("{:60}{:>12}{:>12}", "", "module", "hidden");
    println!("  ARP");
    row(
        "the client asked \"who has 10.0.0.100?\"",
        &Half::asked,
        SOME,
    );
    row(
        "the director said \"I have\"",
        &|half| half.claimed("director"),
        SOME,
    );
    row("rs1 said \"I have\"", &|half| half.claimed("rs1"), NONE);
    row("rs2 said \"I have\"", &|half| half.claimed("rs2"), NONE);

    println!("  {PAGES} pages, the client asks anew before each");
    row(
        "connections to the director",
        &|half| half.pages.began_at("director"),
        PAGES..=PAGES,
    );
    row(
        "connections past it, straight to rs1",
        &|half| half.pages.began_at("rs1"),
        NONE,
    );
    row(
        "connections past it, straight to rs2",
        &|half| half.pages.began_at("rs2"),
        NONE,
    );
    row("served by rs1", &|half| half.pages.by_rs1, SOME);
    row("served by rs2", &|half| half.pages.by_rs2, SOME);
    row("failed", &|half| half.pages.failed, NONE);

    println!("  {DOWNLOADS} long downloads, the client asks anew {RENEWALS} times during each");
    row(
        "wandered from one machine to another",
        &|half| half.downloads.wandered(),
        NONE,
    );
    row("broken off", &|half| half.downloads.failed, NONE);

    println!("  {PAGES} pages after rs2 was put out of service, and the director told");
    row(
        "connections to rs2 all the same",
        &|half| half.maintenance.began_at("rs2"),
        NONE,
    );
    row("failed", &|half| half.maintenance.failed, NONE);

    println!("  Altogether");
    row("connections", &Half::connections, SOME);
    row("connections past the director", &Half::past_director, NONE);
    row("failed requests", &Half::failed, NONE);
    if without.past_director() + without.failed() == 0 {
        println!("\n  Nothing went wrong without the module this time: who wins is chance. Run it again.");
    }
    broken
}
