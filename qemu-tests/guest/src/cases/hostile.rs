// SPDX-License-Identifier: GPL-2.0

//! What nobody should send, and nobody should write: frames with something wrong, and knobs that are misused. A
//! second host, which has no flag set, or one of the kernel's own knobs, says what the kernel makes of the same.

use crate::{
    lab::{
        case::cases,
        module::load,
        real_server::{real_server, HOST, NEIGHBOUR, VIP},
        Host, Lab, Way,
    },
    tap::Tap,
    tun::Tun,
    wire::{who_has, Wire, PATIENCE},
};
use anyhow::{anyhow, bail, ensure, Context, Result};
use fastrand::Rng;
use nix::errno::Errno;
use protocol::frame::{Arp, Mac, BROADCAST, MULTICAST};
use std::{
    fs::{self, File, OpenOptions},
    io, iter,
    net::Ipv4Addr,
    os::unix::fs::FileExt,
    sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        Arc,
    },
    thread,
    time::Instant,
};

cases![
    hostile_frames,
    long_hostile_frames,
    hostile_fragments,
    hostile_hardware_types,
    hostile_writes,
    hostile_writers_at_once,
    hostile_descriptors,
];

/// The largest frame of a device with an MTU of 9000.
const JUMBO: usize = 9014;

/// What a generated frame has of its wire.
#[derive(Clone, Copy)]
struct Ends {
    near: Mac,
    far: Mac,
}

fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

/// Once in `times`.
fn rarely(rng: &mut Rng, times: u32) -> bool {
    rng.u32(..times) == 0
}

/// An address that a hostile neighbour would put into ARP. Not any: each one that asks becomes a neighbour.
fn address(rng: &mut Rng) -> [u8; 4] {
    let any = Ipv4Addr::new(10, 0, 0, rng.u8(..));
    pick(
        rng,
        &[
            VIP,
            VIP,
            VIP,
            HOST,
            NEIGHBOUR,
            any,
            Ipv4Addr::UNSPECIFIED,
            Ipv4Addr::LOCALHOST,
            Ipv4Addr::BROADCAST,
            Ipv4Addr::new(224, 0, 0, 1),
            Ipv4Addr::new(10, 0, 0, 255),
        ],
    )
    .octets()
}

/// An ARP frame with, mostly, one or several things wrong with it. It takes as many random numbers for one wire as
/// for another.
fn hostile(rng: &mut Rng, ends: Ends) -> Vec<u8> {
    let any: Mac = rng.u64(..).to_be_bytes()[2..].try_into().unwrap_or([0; 6]);
    let mut frame = pick(
        rng,
        &[BROADCAST, BROADCAST, MULTICAST, ends.far, ends.far, any],
    )
    .to_vec();
    frame.extend(pick(
        rng,
        &[ends.near, ends.near, ends.near, BROADCAST, any],
    ));
    // Tags: of the VLAN that the host has, of the priority, of one that it has not; two of them.
    while rarely(rng, 6) {
        frame.extend(pick(rng, &[[0x81u8, 0], [0x88, 0xa8]]));
        frame.extend(pick(rng, &[[0u8, 9], [0, 9], [0xe0, 0], [1, 1]]));
    }
    frame.extend(pick(
        rng,
        &[
            [8u8, 6],
            [8, 6],
            [8, 6],
            [8, 6],
            [8, 6],
            [8, 6],
            [8, 6],
            [0x80, 0x35],
            [8, 0],
        ],
    ));
    let arp = frame.len();
    let odd = |rng: &mut Rng, usual: [u8; 2], other: &[[u8; 2]]| {
        if rarely(rng, 8) {
            pick(rng, other)
        } else {
            usual
        }
    };
    frame.extend(odd(
        rng,
        [0, 1],
        &[[0, 6], [0, 0], [0, 32], [0, 24], [0xff, 0xff]],
    ));
    frame.extend(odd(
        rng,
        [8, 0],
        &[[0x86, 0xdd], [0, 0], [8, 6], [0xff, 0xff]],
    ));
    // The lengths of hardware and protocol addresses.
    frame.extend(odd(
        rng,
        [6, 4],
        &[
            [0, 4],
            [255, 4],
            [6, 0],
            [6, 16],
            [255, 255],
            [20, 4],
            [4, 6],
        ],
    ));
    frame.extend(odd(
        rng,
        [0, 1],
        &[[0, 2], [0, 0], [0, 3], [1, 0], [0xff, 0xff]],
    ));
    frame.extend(pick(rng, &[ends.near, ends.near, ends.far, BROADCAST, any]));
    frame.extend(address(rng));
    frame.extend(pick(rng, &[[0; 6], ends.far, BROADCAST]));
    frame.extend(address(rng));
    if rarely(rng, 5) {
        // Behind the header of the link layer, anything may be flipped.
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(12..frame.len());
            frame[at] ^= 1 << rng.u8(..8);
        }
    }
    match rng.u8(..10) {
        0 | 1 => frame.truncate(rng.usize(14..frame.len())),
        2 => frame.resize(60, 0),
        3 => frame.resize(rng.usize(frame.len()..JUMBO), rng.u8(..)),
        // The tail of another ARP.
        4 => frame.extend_from_within(arp..),
        _ => {}
    }
    frame
}

/// A hostile neighbour's end of a wire.
struct End {
    tap: Tap,
    ends: Ends,
    fences: u32,
}

impl End {
    fn new(neighbour: &Host, device: &str, wire: &Wire) -> Result<Self> {
        Ok(Self {
            tap: neighbour.enter(|| Tap::open(device))??,
            ends: Ends {
                near: wire.near_mac,
                far: wire.far_mac,
            },
            fences: 0,
        })
    }

    /// Sends frames, then a request with nothing wrong, and takes what comes from the host up to the answer to it.
    fn exchange(&mut self, frames: &[Vec<u8>]) -> Result<Vec<Arp>> {
        for frame in frames {
            self.tap.send(frame)?;
        }
        self.fences += 1;
        let [a, b, c, d] = self.fences.to_be_bytes();
        let fence = Arp {
            from: self.ends.near,
            to: BROADCAST,
            op: 1,
            sha: [0x06, 0xfe, a, b, c, d],
            sip: NEIGHBOUR,
            tha: [0; 6],
            tip: HOST,
        };
        self.tap.send(&fence.bytes())?;
        let deadline = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        loop {
            let passed = self.tap.next(deadline)?;
            let passed = passed.context("the host does not answer any more")?;
            let arp = Arp::read(&passed.bytes).filter(|_| passed.received);
            match arp {
                Some(arp) if arp.is_reply() && arp.tha == fence.sha => return Ok(heard),
                Some(arp) => heard.push(arp),
                None => {}
            }
        }
    }
}

fn frames(lab: &mut Lab, wanted: u64) -> Result<()> {
    const BATCH: usize = 64;
    let (host, neighbour, wire) = real_server(lab)?;
    let twin = lab.host("twin")?;
    let other = lab.wire((&twin, "eth0"), (&neighbour, "eth1"), NEIGHBOUR)?;
    twin.ip("addr add 10.0.0.1/24 dev eth0")?;
    twin.ip("addr add 10.0.0.100/32 dev lo")?;
    for device in ["eth0", "eth1"] {
        neighbour.ip(&format!("link set {device} mtu 9000"))?;
    }
    for host in [&host, &twin] {
        host.ip("link set eth0 mtu 9000")?;
        host.ip("link add eth0.9 link eth0 type vlan id 9")?;
        host.ip("addr add 10.9.0.1/24 dev eth0.9")?;
        host.ip("link set eth0.9 up")?;
    }
    host.conceal("lo", Way::Strict)?;
    // A full table of neighbours would leave requests unanswered too.
    let limit = "/proc/sys/net/ipv4/neigh/default/gc_thresh";
    let limits = ["1", "2", "3"].map(|number| format!("{limit}{number}"));
    let before: Vec<String> = limits.iter().flat_map(fs::read_to_string).collect();
    for limit in limits.iter().rev() {
        fs::write(limit, "1000000")?;
    }
    let mut rng = Rng::with_seed(0x2214);
    let (mut here, mut there) = (
        End::new(&neighbour, "eth0", &wire)?,
        End::new(&neighbour, "eth1", &other)?,
    );
    let (mut sent, mut answered, mut concealed) = (0, 0, 0);
    while sent < wanted {
        let mut again = rng.clone();
        let batch: Vec<_> = (0..BATCH).map(|_| hostile(&mut rng, here.ends)).collect();
        let same: Vec<_> = (0..BATCH)
            .map(|_| hostile(&mut again, there.ends))
            .collect();
        let (heard, stock) = (here.exchange(&batch)?, there.exchange(&same)?);
        if let Some(leak) = heard.iter().find(|arp| arp.sip == VIP) {
            batch.iter().try_for_each(|frame| wire.send(frame))?;
            bail!("{leak} got out, after {sent} frames");
        }
        let replies = |heard: &[Arp]| -> Vec<(Ipv4Addr, Ipv4Addr)> {
            let replies = heard.iter().filter(|arp| arp.is_reply() && arp.sip != VIP);
            replies.map(|arp| (arp.sip, arp.tip)).collect()
        };
        if replies(&heard) != replies(&stock) {
            batch.iter().try_for_each(|frame| wire.send(frame))?;
            bail!(
                "after {sent} frames, other answers than without a flag: {:?}, but {:?}",
                replies(&heard),
                replies(&stock)
            );
        }
        sent += BATCH as u64;
        answered += heard.iter().filter(|arp| arp.is_reply()).count();
        concealed += stock
            .iter()
            .filter(|arp| arp.sip == VIP && arp.is_reply())
            .count();
    }
    for (limit, value) in limits.iter().zip(before) {
        fs::write(limit, value.trim())?;
    }
    ensure!(
        concealed > 0,
        "the frames are too hostile: none is answered for the VIP"
    );
    ensure!(answered > 0, "the frames are too hostile: none is answered");
    wire.silent(who_has(VIP))?;
    wire.answered(who_has(HOST))?;
    lab.note = Some(format!(
        "{sent} frames; {answered} answered as without the flag, {concealed} left unanswered"
    ));
    Ok(())
}

fn hostile_frames(lab: &mut Lab) -> Result<()> {
    frames(lab, 20_000)
}

fn long_hostile_frames(lab: &mut Lab) -> Result<()> {
    frames(lab, 1_000_000)
}

/// The EtherType of IPv4, which ARP has for its protocol.
const IPV4: u16 = 0x0800;
/// What it is on amateur radio's devices.
const AX25_P_IP: u16 = 0xcc;

/// A request for a device with hardware addresses of `len` bytes.
fn request(hardware: u16, protocol: u16, len: u8, tip: Ipv4Addr) -> Vec<u8> {
    let mut packet = hardware.to_be_bytes().to_vec();
    packet.extend(protocol.to_be_bytes());
    packet.extend([len, 4, 0, 1]);
    packet.extend(vec![2; len.into()]);
    packet.extend([10, 1, 0, 2]);
    packet.extend(vec![0; len.into()]);
    packet.extend(tip.octets());
    packet
}

/// The header in two and three pieces, wherever they are cut.
fn hostile_fragments(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = real_server(lab)?;
    let own = Ipv4Addr::new(10, 1, 0, 1);
    let mut tap = host.enter(|| Tun::ethernet_in_pieces("tap0"))??;
    host.ip("addr add 10.1.0.1/24 dev tap0")?;
    host.ip("link set tap0 up")?;
    let header = [&BROADCAST[..], &[2, 0, 0, 0, 1, 2], &[8, 6]].concat();
    for way in iter::once(None).chain(Way::ALL.map(Some)) {
        if let Some(way) = way {
            host.conceal("lo", way)?;
        }
        for first in 0..28 {
            for second in [first, (first + 1).min(28), 27] {
                let second = second.max(first);
                for tip in [VIP, own] {
                    let packet = request(1, IPV4, 6, tip);
                    let pieces = [
                        &header[..],
                        &packet[..first],
                        &packet[first..second],
                        &packet[second..],
                    ];
                    let pieces: Vec<&[u8]> = pieces
                        .into_iter()
                        .filter(|piece| !piece.is_empty())
                        .collect();
                    tap.send(&pieces)?;
                }
                // The answer for its own address says that the one for the VIP would have come.
                let mut answered = Vec::new();
                while answered.last() != Some(&own) {
                    let packet = tap.next(10_000)?;
                    let packet = packet.context("no answer for the device's own address")?;
                    answered.extend(Arp::read(&packet).filter(Arp::is_reply).map(|arp| arp.sip));
                }
                ensure!(
                    answered.contains(&VIP) == way.is_none(),
                    "{way:?}, cut at {first} and {second}: answers for {answered:?}"
                );
            }
        }
        if let Some(way) = way {
            host.reveal("lo", way)?;
        }
    }
    Ok(())
}

/// Devices with hardware addresses of another length than Ethernet's: what the kernel runs ARP on as well.
fn hostile_hardware_types(lab: &mut Lab) -> Result<()> {
    // The types to which a tun device knows the length.
    const ARPHRD: [(&str, u16, u16, u8); 6] = [
        ("IPv6 GRE", 823, IPV4, 16),
        ("IEEE 802.15.4", 804, IPV4, 8),
        ("NET/ROM", 0, AX25_P_IP, 7),
        ("tunnel", 768, IPV4, 4),
        ("LocalTalk", 773, IPV4, 1),
        ("without hardware addresses", 0xfffe, IPV4, 0),
    ];
    let (host, _, _) = real_server(lab)?;
    let own = Ipv4Addr::new(10, 1, 0, 1);
    for (name, hardware, protocol, len) in ARPHRD {
        let mut tun = host.enter(|| Tun::of_type("tun0", hardware.into()))??;
        host.ip("link set tun0 arp on up")?;
        host.ip("addr add 10.1.0.1/24 dev tun0")?;
        let mut answers = |tip| -> Result<bool> {
            for tip in [tip, own] {
                tun.send(&[&[0, 0, 8, 6], &request(hardware, protocol, len, tip)])?;
            }
            let mut answered = Vec::new();
            let sip = 4 + 8 + usize::from(len);
            while answered.last() != Some(&own) {
                let packet = tun.next(10_000)?;
                let packet =
                    packet.with_context(|| format!("{name}: no answer for its own address"))?;
                if packet.get(2..4) == Some(&[8, 6]) && packet.get(10..12) == Some(&[0, 2]) {
                    let sip: [u8; 4] = packet[sip..sip + 4].try_into()?;
                    answered.push(sip.into());
                }
            }
            Ok(answered.contains(&tip))
        };
        // Such a device has no broadcasts: all that it hears is for its own hardware address.
        ensure!(
            answers(VIP)?,
            "{name}: no answer while nothing is concealed"
        );
        host.conceal("lo", Way::Hidden)?;
        ensure!(answers(VIP)?, "{name}: hidden=1 leaves unicast unanswered");
        host.conceal("lo", Way::Strict)?;
        ensure!(!answers(VIP)?, "{name}: an answer");
        host.reveal("lo", Way::Strict)?;
        ensure!(answers(VIP)?, "{name}: no answer after all flags are off");
        drop(tun);
        lab.run("while ip -n host link show tun0 2>/dev/null; do sleep 0.1; done")?;
    }
    Ok(())
}

/// A knob of the kernel's that is as ours: an integer from 0 to 3.
const KERNELS: &str = "/proc/sys/net/core/devconf_inherit_init_net";

fn hostile_writes(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = real_server(lab)?;
    let mut texts: Vec<Vec<u8>> = [
        "",
        "\n",
        " ",
        "\t\n",
        "0",
        "1",
        "2",
        "00",
        "01",
        "0x1",
        "0x2",
        "010",
        "-0",
        "+1",
        "-1",
        "--1",
        "1 2",
        "1\t0",
        "1,2",
        "1\n2",
        " 1",
        "1 ",
        "1\0",
        "\0",
        "1\x002",
        "1x",
        "x1",
        "x",
        "4",
        "255",
        "256",
        "65536",
        "65537",
        "2147483647",
        "2147483648",
        "4294967295",
        "4294967296",
        "4294967297",
        "18446744073709551616",
        "1e0",
        "1.0",
        "true",
        "%s%n",
        "\u{661}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    texts.extend([
        b"1".repeat(100),
        b"9".repeat(5000),
        b"0".repeat(5000),
        b" ".repeat(5000),
        vec![0xff; 5000],
    ]);
    texts.push(b"1".repeat(1 << 20));
    let mut rng = Rng::with_seed(0x2214);
    for _ in 0..500 {
        let len = rng.usize(..8);
        texts.push(
            (0..len)
                .map(|_| pick(&mut rng, b"012-+x \n\t\0\xff"))
                .collect(),
        );
    }
    // None of the texts is a 3, which is a value of the kernel's only.
    let open = |path: &str| OpenOptions::new().read(true).write(true).open(path);
    let before = fs::read_to_string(KERNELS)?;
    let result = (|| {
        let stock = open(KERNELS)?;
        let ours = host.enter(|| open("/proc/sys/net/ipv4/conf/lo/hidden"))??;
        for text in &texts {
            // From the start, and as the rest of a write that was partial.
            for offset in [0, 1, 4096] {
                for start in [b"0", b"1"] {
                    for file in [&ours, &stock] {
                        file.write_at(start, 0)?;
                    }
                    let outcome = |file: &File| -> Result<_> {
                        let written = file.write_at(text, offset);
                        let written = written.map_err(|error| error.raw_os_error());
                        let mut value = [0; 64];
                        let len = file.read_at(&mut value, 0)?;
                        Ok((written, value[..len].to_vec()))
                    };
                    let (ours, stock) = (outcome(&ours)?, outcome(&stock)?);
                    ensure!(
                        ours == stock,
                        "{:?} at {offset}: {ours:?}, but the kernel's own knob {stock:?}",
                        String::from_utf8_lossy(&text[..text.len().min(40)])
                    );
                }
            }
        }
        Ok(())
    })();
    fs::write(KERNELS, before.trim())?;
    lab.note = Some(format!("{} texts", texts.len()));
    result
}

/// Several who write to the same knobs at once, and one who reads.
fn hostile_writers_at_once(lab: &mut Lab) -> Result<()> {
    const ROUNDS: usize = 100;
    let (host, _, wire) = real_server(lab)?;
    host.conf("all", "hidden", 1)?;
    let knob = |name: &str| {
        let path = format!("/proc/sys/net/ipv4/conf/{name}/hidden");
        host.enter(|| OpenOptions::new().read(true).write(true).open(path))?
            .map_err(anyhow::Error::from)
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for (number, name) in ["lo", "lo", "eth0", "default"].into_iter().enumerate() {
        let file = knob(name)?;
        writers.push(thread::spawn(move || -> Result<()> {
            let mut rng = Rng::with_seed(number as u64);
            for _ in 0..ROUNDS {
                let value = pick(&mut rng, &["0", "1", "2", "3", "-1", "x", ""]);
                let wrong = matches!(value, "3" | "-1" | "x");
                match file.write_at(value.as_bytes(), 0) {
                    Ok(_) => ensure!(!wrong, "{value} is taken"),
                    Err(error) => ensure!(
                        wrong && error.raw_os_error() == Some(Errno::EINVAL as i32),
                        "'{value}': {error}"
                    ),
                }
            }
            Ok(())
        }));
    }
    let reader = thread::spawn({
        let (file, stop) = (knob("lo")?, stop.clone());
        move || -> Result<()> {
            while !stop.load(Relaxed) {
                let mut text = [0; 16];
                let len = file.read_at(&mut text, 0)?;
                ensure!(
                    [b"0\n", b"1\n", b"2\n"]
                        .iter()
                        .any(|value| **value == text[..len]),
                    "{text:?}"
                );
            }
            Ok(())
        }
    });
    let join = |thread: thread::JoinHandle<Result<()>>| {
        thread.join().map_err(|_| anyhow!("a writer panicked"))?
    };
    let ended: Vec<Result<()>> = writers.into_iter().map(join).collect();
    stop.store(true, Relaxed);
    join(reader)?;
    ended.into_iter().collect::<Result<()>>()?;
    // What is in force is what was written last.
    if host.get("net/ipv4/conf/lo/hidden")? == 0 {
        wire.answered(who_has(VIP))?;
    } else {
        wire.silent(who_has(VIP))?;
    }
    host.conceal("lo", Way::Strict)?;
    wire.silent(who_has(VIP).unicast())?;
    host.reveal("lo", Way::Strict)?;
    wire.answered(who_has(VIP))
}

/// Files that were opened in time: ours, and the kernel's own beside them.
struct Kept {
    ours: File,
    kernels: File,
    table: File,
}

impl Kept {
    fn open(host: &Host, device: &str) -> Result<Self> {
        let knob = |name| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(format!("/proc/sys/net/ipv4/conf/{device}/{name}"))
        };
        host.enter(|| {
            Ok(Self {
                ours: knob("hidden")?,
                kernels: knob("arp_ignore")?,
                table: File::open("/proc/thread-self/net/arp_hidden")?,
            })
        })?
    }

    /// What comes of a read of, and a write to, our knob and the kernel's.
    fn knobs(&self) -> [[Option<i32>; 2]; 2] {
        let error = |result: io::Result<usize>| result.err().and_then(|error| error.raw_os_error());
        [&self.ours, &self.kernels].map(|file| {
            [
                error(file.read_at(&mut [0; 16], 0)),
                error(file.write_at(b"1", 0)),
            ]
        })
    }

    /// Our knob must give the errors of the kernel's.
    fn as_the_kernels(&self, when: &str) -> Result<()> {
        let [ours, kernels] = self.knobs();
        ensure!(
            ours == kernels && ours[0].is_some(),
            "{when}: {ours:?}, the kernel's own {kernels:?}"
        );
        Ok(())
    }
}

/// Descriptors that outlive the interface, the namespace and the module that they are of.
fn hostile_descriptors(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.ip("link add dummy0 up type dummy")?;
    let kept = Kept::open(&host, "dummy0")?;
    host.conceal("dummy0", Way::Hidden)?;
    host.ip("link del dummy0")?;
    kept.as_the_kernels("after the interface")?;
    // One of the same name is another one.
    host.ip("link add dummy0 up type dummy")?;
    kept.as_the_kernels("after the interface, with another of its name")?;
    ensure!(
        host.get("net/ipv4/conf/dummy0/hidden")? == 0,
        "an old descriptor writes"
    );
    let mut text = [0; 4096];
    ensure!(
        kept.table.read_at(&mut text, 0)? > 0,
        "the table has gone with a device"
    );

    let gone = {
        let mut lab = Lab::new();
        let gone = lab.host("gone")?;
        gone.conceal("lo", Way::Hidden)?;
        Kept::open(&gone, "lo")?
    };
    // The open table keeps the namespace, as an open /proc/net/dev does; without it the namespace goes.
    ensure!(
        gone.table.read_at(&mut text, 0)? > 0,
        "no table of a namespace without a name"
    );
    let Kept {
        ours,
        kernels,
        table,
    } = gone;
    drop(table);
    let kept_table = kept.table.try_clone()?;
    let gone = Kept {
        ours,
        kernels,
        table: kept_table,
    };
    let deadline = Instant::now() + PATIENCE;
    while gone.knobs()[1][0].is_none() {
        ensure!(Instant::now() < deadline, "the namespace does not go");
        thread::yield_now();
    }
    gone.as_the_kernels("after the namespace")?;

    let outlived = Kept::open(&host, "lo")?;
    host.conceal("lo", Way::Hidden)?;
    lab.run("rmmod arp_hidden")?;
    for when in ["after the module", "after the module, loaded anew"] {
        let [ours, kernels] = outlived.knobs();
        ensure!(
            ours == [Some(Errno::ENOENT as i32); 2] && kernels == [None; 2],
            "{when}: {ours:?}, {kernels:?}"
        );
        ensure!(
            outlived.table.read_at(&mut text, 0).is_err(),
            "{when}: the table is read"
        );
        load()?;
    }
    ensure!(
        host.get("net/ipv4/conf/lo/hidden")? == 0,
        "an old descriptor writes"
    );
    host.conf("lo", "arp_ignore", 0)?;
    wire.answered(who_has(VIP))
}
