// SPDX-License-Identifier: GPL-2.0

//! What an operator sees: `/proc/net/arp_hidden`, tracepoints, drops, the log.

use crate::{
    lab::{
        case::cases,
        module::load,
        real_server::{real_server, unnumbered, HOST, NEIGHBOUR, VIP},
        Host, Lab, Way,
    },
    machine,
    tap::Tap,
    wire::{who_has, PATIENCE},
};
use anyhow::{bail, ensure, Context, Result};
use nix::{
    sched::{sched_setaffinity, setns, CloneFlags, CpuSet},
    unistd::Pid,
};
use protocol::frame::{Arp, BROADCAST};
use std::{
    fs::{self, File},
    io::Read,
    net::{Ipv4Addr, UdpSocket},
    os::unix::{fs::MetadataExt, process::CommandExt},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

cases![
    see_table,
    see_table_of_others,
    see_table_while_devices_come_and_go,
    see_counts_of_requests,
    see_counts_of_announcements,
    see_counts_of_selections,
    see_counts_under_flood,
    see_trace_request_unanswered,
    see_trace_announcement_rewritten,
    see_trace_source_redirected,
    see_drop,
    see_log,
    see_modinfo,
    see_session,
];

const TABLE: &str = "/proc/net/arp_hidden";
const HEADING: [&str; 12] = [
    "device",
    "hidden",
    "hidden_eff",
    "arp_invisible",
    "arp_inv_eff",
    "addresses",
    "broadcast",
    "unicast",
    "dad",
    "rewritten",
    "redirected",
    "note",
];
/// A visible address on dummy0.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);

/// The lines of the table, without the heading, in words.
fn table(host: &Host) -> Result<Vec<Vec<String>>> {
    lines(&host.enter(|| fs::read_to_string(TABLE))??)
}

fn lines(text: &str) -> Result<Vec<Vec<String>>> {
    let mut lines = text.lines().map(|line| {
        line.split_ascii_whitespace()
            .map(str::to_owned)
            .collect::<Vec<String>>()
    });
    ensure!(lines.next().context("no heading")? == HEADING, "{text}");
    lines
        .map(|line| {
            ensure!(
                line.len() == HEADING.len(),
                "{} words in {text}",
                line.len()
            );
            Ok(line)
        })
        .collect()
}

/// The table must be this, words apart by any space.
fn shows(host: &Host, wanted: &[&str]) -> Result<()> {
    let table = table(host)?;
    let found: Vec<String> = table.iter().map(|line| line.join(" ")).collect();
    ensure!(found == wanted, "{found:#?}\nwhere expected:\n{wanted:#?}");
    Ok(())
}

/// The five counters of a device.
fn counts(host: &Host, device: &str) -> Result<[u64; 5]> {
    let table = table(host)?;
    let line = table
        .iter()
        .find(|line| line[0] == device)
        .with_context(|| format!("no line of {device}"))?;
    let mut counts = [0; 5];
    for (count, word) in counts.iter_mut().zip(&line[6..11]) {
        *count = word.parse()?;
    }
    Ok(counts)
}

fn see_table(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = real_server(lab)?;
    shows(&host, &[])?;
    // The forgotten `all`.
    host.conf("lo", "hidden", 2)?;
    shows(&host, &["lo 2 0 0 0 0 0 0 0 0 0 all/hidden=0"])?;
    host.conf("lo", "arp_invisible", 1)?;
    host.conf("all", "arp_invisible", 1)?;
    shows(&host, &["lo 2 0 1 1 1 0 0 0 0 0 all/hidden=0"])?;
    host.conf("all", "hidden", 1)?;
    shows(&host, &["lo 2 2 1 1 1 0 0 0 0 0 -"])?;
    host.conf("all", "arp_invisible", 0)?;
    shows(&host, &["lo 2 2 1 0 1 0 0 0 0 0 all/arp_invisible=0"])?;
    host.conf("all", "hidden", 0)?;
    let both = "lo 2 0 1 0 0 0 0 0 0 0 all/hidden=0,all/arp_invisible=0";
    shows(&host, &[both])?;
    host.conf("lo", "arp_invisible", 0)?;
    host.conceal("lo", Way::Hidden)?;
    // An address that is visible elsewhere is not concealed.
    host.ip("addr add 10.0.0.101/32 dev lo")?;
    shows(&host, &["lo 1 1 0 0 2 0 0 0 0 0 -"])?;
    host.ip("addr add 10.0.0.101/32 dev eth0")?;
    shows(&host, &["lo 1 1 0 0 1 0 0 0 0 0 -"])?;
    // In the order of the indexes, by the names of today.
    host.ip("link add name dummy0 type dummy")?;
    host.conf("dummy0", "hidden", 1)?;
    let dummy = "dummy0 1 1 0 0 0 0 0 0 0 0 -";
    shows(&host, &["lo 1 1 0 0 1 0 0 0 0 0 -", dummy])?;
    host.ip("link set dummy0 name fifteen_letters")?;
    let long = "fifteen_letters 1 1 0 0 0 0 0 0 0 0 -";
    shows(&host, &["lo 1 1 0 0 1 0 0 0 0 0 -", long])?;
    host.ip("link del fifteen_letters")?;
    host.reveal("lo", Way::Hidden)?;
    shows(&host, &[])
}

fn see_table_of_others(lab: &mut Lab) -> Result<()> {
    let (host, neighbour, _) = real_server(lab)?;
    host.conceal("lo", Way::Hidden)?;
    shows(&neighbour, &[])?;
    ensure!(lines(&fs::read_to_string(TABLE)?)?.is_empty());
    // Whoever may look into /proc/net/arp.
    host.enter(|| {
        let (table, arp) = (fs::metadata(TABLE)?, fs::metadata("/proc/net/arp")?);
        let of = |file: &fs::Metadata| (file.mode(), file.uid(), file.gid());
        ensure!(of(&table) == of(&arp), "{:?} {:?}", of(&table), of(&arp));
        Ok(())
    })??;
    let mut nobody = Command::new("/bin/busybox");
    nobody.args(["cat", TABLE]).uid(65534).gid(65534);
    let output = host.enter(|| nobody.output())??;
    ensure!(lines(&String::from_utf8(output.stdout)?)?.len() == 1);
    // A reader who has it open does not hold the namespace or the module.
    let mut open = host.enter(|| File::open(TABLE))??;
    open.read_exact(&mut [0; 6])?;
    lab.run("rmmod arp_hidden")?;
    ensure!(open.read(&mut [0; 6]).is_err(), "read without the module");
    ensure!(
        host.enter(|| fs::metadata(TABLE))?.is_err(),
        "a file is left"
    );
    Ok(())
}

fn see_table_while_devices_come_and_go(lab: &mut Lab) -> Result<()> {
    const ROUNDS: u32 = 8;
    let host = lab.host("host")?;
    host.conf("default", "hidden", 1)?;
    for number in 0..20 {
        host.ip(&format!("link add stays{number} type dummy"))?;
    }
    let stop = AtomicBool::new(false);
    let rounds = AtomicU32::new(0);
    thread::scope(|scope| {
        let churn = scope.spawn(|| -> Result<()> {
            enter("host")?;
            while !stop.load(Ordering::Relaxed) {
                let (status, text) = machine::shell(
                    "for n in 1 2 3 4; do ip link add goes$n type dummy || exit; done; \
                     for n in 1 2 3 4; do ip link del goes$n || exit; done",
                )?;
                ensure!(status == 0, "{text}");
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        let wanted: Vec<String> = (0..20).map(|number| format!("stays{number}")).collect();
        let look = |step: usize| -> Result<()> {
            // By small pieces, so that it changes within a look.
            let mut file = host.enter(|| File::open(TABLE))??;
            let mut text = Vec::new();
            let mut piece = vec![0; step];
            loop {
                match file.read(&mut piece)? {
                    0 => break,
                    len => text.extend_from_slice(&piece[..len]),
                }
            }
            let text = String::from_utf8(text)?;
            let table = lines(&text)?;
            let names = table.iter().map(|line| line[0].as_str());
            let stay = names.filter(|name| name.starts_with("stays"));
            ensure!(stay.eq(wanted.iter()), "{text}");
            Ok(())
        };
        let deadline = Instant::now() + 6 * PATIENCE;
        let mut steps = (7..400).step_by(13).cycle();
        let mut looked = Ok(());
        while looked.is_ok() && rounds.load(Ordering::Relaxed) < ROUNDS && Instant::now() < deadline
        {
            looked = look(steps.next().context("no end")?);
        }
        stop.store(true, Ordering::Relaxed);
        churn.join().unwrap()?;
        let rounds = rounds.load(Ordering::Relaxed);
        ensure!(looked.is_err() || rounds >= ROUNDS, "{rounds} rounds");
        looked
    })
}

fn see_counts_of_requests(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.conceal("lo", Way::Strict)?;
    for number in 1..=3 {
        wire.silent(who_has(VIP))?;
        wire.silent(who_has(VIP).multicast())?;
        wire.silent(who_has(VIP).unicast())?;
        wire.silent(who_has(VIP).dad())?;
        wire.silent(who_has(VIP).dad().unicast())?;
        ensure!(counts(&host, "lo")? == [2 * number, number, 2 * number, 0, 0]);
    }
    // What is answered is not counted, nor what is not for us to answer.
    host.conceal("lo", Way::Hidden)?;
    wire.answered(who_has(VIP).unicast())?;
    wire.answered(who_has(HOST))?;
    wire.silent(who_has(Ipv4Addr::new(10, 0, 0, 77)))?;
    wire.silent(who_has(VIP).from(VIP))?;
    shows(&host, &["lo 1 1 0 0 1 6 3 6 0 0 -"])?;
    // What was counted stays to be seen, also where no flag is set any more, for as long as the device.
    host.reveal("lo", Way::Hidden)?;
    shows(&host, &["lo 0 0 0 0 0 6 3 6 0 0 -"])?;
    wire.answered(who_has(VIP))?;
    shows(&host, &["lo 0 0 0 0 0 6 3 6 0 0 -"])?;
    // It is the owner that counts, and of two only one.
    host.ip("link add dummy0 type dummy")?;
    host.ip("addr add 10.0.0.100/32 dev dummy0")?;
    host.conceal("dummy0", Way::Invisible)?;
    host.conceal("lo", Way::Hidden)?;
    wire.silent(who_has(VIP))?;
    let (lo, dummy) = (counts(&host, "lo")?, counts(&host, "dummy0")?);
    ensure!(lo[0] + dummy[0] == 7, "{lo:?} {dummy:?}");
    host.ip("link del dummy0")?;
    wire.silent(who_has(VIP))?;
    ensure!(counts(&host, "lo")?[0] == lo[0] + 1);
    Ok(())
}

fn see_counts_of_announcements(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.set("net/ipv4/neigh/eth0/mcast_solicit", 3)?;
    host.set("net/ipv4/neigh/eth0/retrans_time_ms", 100)?;
    host.conceal("lo", Way::Invisible)?;
    let nobody = Ipv4Addr::new(10, 0, 0, 77);
    wire.heard()?;
    host.say(VIP, nobody)?;
    let mut asked = Vec::new();
    let until = Instant::now() + PATIENCE;
    while asked.len() < 3 && Instant::now() < until {
        asked.extend(wire.heard_arp()?);
        thread::sleep(Duration::from_millis(20));
    }
    asked.retain(|arp| arp.tip == nobody);
    ensure!(
        asked.iter().all(|arp| arp.sip == HOST) && asked.len() == 3,
        "{asked:?}"
    );
    ensure!(counts(&host, "lo")? == [0, 0, 0, 3, 0]);
    // What says nothing else than it would is no rewriting: the sending device's own primary.
    host.conceal("eth0", Way::Invisible)?;
    host.say(HOST, Ipv4Addr::new(10, 0, 0, 78))?;
    ensure!(wire.announced(Ipv4Addr::new(10, 0, 0, 78))? == HOST);
    ensure!(counts(&host, "eth0")? == [0; 5]);
    ensure!(counts(&host, "lo")? == [0, 0, 0, 3, 0]);
    Ok(())
}

/// As [`unnumbered`], and dummy0 has [`ELSEWHERE`].
fn with_dummy(lab: &mut Lab) -> Result<(Host, std::rc::Rc<crate::wire::Wire>)> {
    let (host, _, wire) = unnumbered(lab)?;
    host.ip("link add dummy0 up type dummy")?;
    host.ip(&format!("addr add {ELSEWHERE}/32 dev dummy0"))?;
    Ok((host, wire))
}

fn see_counts_of_selections(lab: &mut Lab) -> Result<()> {
    let (host, _) = with_dummy(lab)?;
    ensure!(host.source_to(NEIGHBOUR)? == VIP);
    host.conceal("lo", Way::Hidden)?;
    ensure!(host.source_to(NEIGHBOUR)? == ELSEWHERE);
    let [rest @ .., selected] = counts(&host, "lo")?;
    ensure!(rest == [0; 4] && selected > 0, "{selected}");
    // The route has it cached.
    ensure!(host.source_to(NEIGHBOUR)? == ELSEWHERE);
    ensure!(counts(&host, "lo")?[4] == selected);
    // The device's own address is selected as ever.
    host.ip("addr add 10.0.0.1/24 dev eth0")?;
    ensure!(host.source_to(NEIGHBOUR)? == HOST);
    ensure!(counts(&host, "lo")?[4] == selected);
    Ok(())
}

/// Enters a host's namespace, by its name, for good: for threads.
fn enter(host: &str) -> Result<()> {
    let inside = File::open(format!("/run/netns/{host}"))?;
    setns(inside, CloneFlags::CLONE_NEWNET)?;
    Ok(())
}

/// As [`enter`], on a processor of its own.
fn enter_on(host: &str, cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)?;
    enter(host)
}

/// The ARP requests that a tap has seen, until none comes for a while.
fn requests(tap: &Tap, received: bool) -> Result<Vec<Arp>> {
    let mut seen = Vec::new();
    while let Some(passed) = tap.next(Instant::now() + Duration::from_millis(1500))? {
        if passed.received == received {
            seen.extend(Arp::read(&passed.bytes).filter(Arp::is_request));
        }
    }
    Ok(seen)
}

fn see_counts_under_flood(lab: &mut Lab) -> Result<()> {
    const EACH: usize = 4000;
    let (host, wire) = with_dummy(lab)?;
    let other = lab.host("other")?;
    let second = lab.wire((&host, "eth1"), (&other, "eth0"), NEIGHBOUR)?;
    host.conceal("lo", Way::Strict)?;
    // Requests, from two processors on each of two wires.
    let heard = host.enter(|| [Tap::open("eth0"), Tap::open("eth1")])?;
    thread::scope(|scope| {
        let flood = |neighbour: &'static str, cpu, to, from| {
            move || -> Result<()> {
                enter_on(neighbour, cpu)?;
                let tap = Tap::open("eth0")?;
                for number in 0..EACH {
                    let request = Arp {
                        from,
                        to: if number % 3 == 1 { to } else { BROADCAST },
                        op: 1,
                        sha: from,
                        sip: if number % 3 == 2 {
                            Ipv4Addr::UNSPECIFIED
                        } else {
                            NEIGHBOUR
                        },
                        tha: [0; 6],
                        tip: VIP,
                    };
                    tap.send(&request.bytes())?;
                }
                Ok(())
            }
        };
        let mut floods = Vec::new();
        for cpu in 0..2 {
            floods.push(scope.spawn(flood("neighbour", cpu, wire.far_mac, wire.near_mac)));
            floods.push(scope.spawn(flood("other", cpu, second.far_mac, second.near_mac)));
        }
        let mut before = [0; 5];
        while floods.iter().any(|flood| !flood.is_finished()) {
            let now = counts(&host, "lo")?;
            ensure!(before <= now, "{before:?} and then {now:?}");
            before = now;
        }
        floods
            .into_iter()
            .try_for_each(|flood| flood.join().unwrap())
    })?;
    let mut seen = [0; 5];
    for tap in heard {
        for arp in requests(&tap?, true)? {
            seen[if arp.sip.is_unspecified() {
                2
            } else {
                usize::from(arp.to != BROADCAST)
            }] += 1;
        }
    }
    ensure!(
        seen.iter().sum::<u64>() > EACH as u64,
        "{seen:?} of 4 x {EACH} passed"
    );
    ensure!(
        counts(&host, "lo")? == seen,
        "{:?} of {seen:?}",
        counts(&host, "lo")?
    );

    // Announcements of the VIP, then selections: one for each request for a neighbour that is not there.
    host.set("net/ipv4/neigh/eth0/mcast_solicit", 1)?;
    host.ip("route add 10.1.0.0/16 dev eth0")?;
    host.ip("route add 10.2.0.0/16 dev eth0")?;
    // The kernel has selected a source for each of the routes.
    seen[4] = counts(&host, "lo")?[4];
    seen[3] += solicit(&host, "10.1", ELSEWHERE)?;
    ensure!(
        counts(&host, "lo")? == seen,
        "{:?} of {seen:?}",
        counts(&host, "lo")?
    );
    host.conf("eth0", "arp_announce", 2)?;
    seen[4] += solicit(&host, "10.2", ELSEWHERE)?;
    ensure!(
        counts(&host, "lo")? == seen,
        "{:?} of {seen:?}",
        counts(&host, "lo")?
    );
    Ok(())
}

/// Makes the host ask for neighbours of `net` by the hundreds, from all processors, for packets from the VIP:
/// how many requests came out. They must all come from `sip`.
fn solicit(host: &Host, net: &str, sip: Ipv4Addr) -> Result<u64> {
    const EACH: usize = 150;
    let tap = host.enter(|| Tap::open("eth0"))??;
    thread::scope(|scope| {
        let send = |cpu| {
            move || -> Result<()> {
                enter_on("host", cpu)?;
                let socket = UdpSocket::bind((VIP, 0))?;
                for number in 1..=EACH {
                    socket.send_to(b"hello", format!("{net}.{cpu}.{number}:9"))?;
                }
                Ok(())
            }
        };
        let both = [scope.spawn(send(0)), scope.spawn(send(1))];
        both.into_iter().try_for_each(|send| send.join().unwrap())
    })?;
    let asked = requests(&tap, false)?;
    for arp in &asked {
        ensure!(arp.sip == sip, "{arp}");
    }
    ensure!(
        asked.len() == 2 * EACH,
        "{} requests of {}",
        asked.len(),
        2 * EACH
    );
    Ok(asked.len() as u64)
}

/// The tracepoints, by what everybody has: tracefs.
struct Trace(String);

impl Trace {
    fn on(event: &str) -> Result<Self> {
        let trace = Self(format!("/sys/kernel/tracing/events/{event}/enable"));
        fs::write("/sys/kernel/tracing/trace", "")?;
        fs::write(&trace.0, "1").with_context(|| trace.0.clone())?;
        Ok(trace)
    }

    /// What was traced since it is on, from the event's name on, without the number of the namespace.
    fn lines(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string("/sys/kernel/tracing/trace")?;
        let events = text.lines().filter(|line| !line.starts_with('#'));
        events
            .map(|line| {
                let (_, event) = line.split_once(": ").context("no event")?;
                Ok(event.to_owned())
            })
            .collect()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        drop(fs::write(&self.0, "0"));
    }
}

/// The number by which tracepoints name a host.
fn number(host: &Host) -> Result<u64> {
    Ok(fs::metadata(format!("/run/netns/{host}"))?.ino())
}

/// What was traced must be this.
fn traced(trace: &Trace, wanted: &[String]) -> Result<()> {
    let lines = trace.lines()?;
    ensure!(lines == wanted, "{lines:#?}\nwhere expected:\n{wanted:#?}");
    Ok(())
}

fn see_trace_request_unanswered(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.conceal("lo", Way::Strict)?;
    wire.silent(who_has(VIP))?;
    let trace = Trace::on("arp_hidden/request_unanswered")?;
    wire.silent(who_has(VIP))?;
    wire.silent(who_has(VIP).unicast())?;
    wire.silent(who_has(VIP).dad())?;
    wire.answered(who_has(HOST))?;
    host.reveal("lo", Way::Strict)?;
    wire.answered(who_has(VIP))?;
    host.conceal("lo", Way::Invisible)?;
    wire.silent(who_has(VIP).multicast())?;
    let net = number(&host)?;
    let line = |kind, sip, flags| {
        format!(
            "request_unanswered: net={net} dev=eth0 kind={kind} sha=020000000002 sip={sip} tip={VIP} owner=lo {flags}"
        )
    };
    traced(
        &trace,
        &[
            line("broadcast", "10.0.0.2", "hidden=2 arp_invisible=0"),
            line("unicast", "10.0.0.2", "hidden=2 arp_invisible=0"),
            line("dad", "0.0.0.0", "hidden=2 arp_invisible=0"),
            line("broadcast", "10.0.0.2", "hidden=0 arp_invisible=1"),
        ],
    )
}

fn see_trace_announcement_rewritten(lab: &mut Lab) -> Result<()> {
    let (host, neighbour, wire) = real_server(lab)?;
    neighbour.ip("addr add 10.0.0.3/24 dev eth0")?;
    host.conceal("lo", Way::Hidden)?;
    let trace = Trace::on("arp_hidden/announcement_rewritten")?;
    host.say(VIP, NEIGHBOUR)?;
    host.say(HOST, Ipv4Addr::new(10, 0, 0, 3))?;
    ensure!(wire.announced(NEIGHBOUR)? == HOST);
    let net = number(&host)?;
    traced(
        &trace,
        &[format!(
            "announcement_rewritten: net={net} dev=eth0 sha=020000000001 tip={NEIGHBOUR} sip={VIP} announced={HOST} \
             owner=lo hidden=1 arp_invisible=0"
        )],
    )
}

fn see_trace_source_redirected(lab: &mut Lab) -> Result<()> {
    let (host, wire) = with_dummy(lab)?;
    host.conceal("lo", Way::Strict)?;
    host.conf("eth0", "arp_announce", 2)?;
    // The first packet to a destination has the route select; then ARP does, for each request.
    host.say(VIP, NEIGHBOUR)?;
    ensure!(wire.announced(NEIGHBOUR)? == ELSEWHERE);
    host.ip("neigh flush dev eth0")?;
    let trace = Trace::on("arp_hidden/source_redirected")?;
    host.say(VIP, NEIGHBOUR)?;
    ensure!(wire.announced(NEIGHBOUR)? == ELSEWHERE);
    let net = number(&host)?;
    traced(
        &trace,
        &[format!(
            "source_redirected: net={net} dev=eth0 dst={NEIGHBOUR} scope=253 saddr={VIP} selected={ELSEWHERE} owner=lo \
             hidden=2"
        )],
    )
}

fn see_drop(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.conceal("lo", Way::Hidden)?;
    wire.heard()?;
    let trace = Trace::on("skb/kfree_skb")?;
    wire.silent(who_has(VIP))?;
    wire.answered(who_has(HOST))?;
    let mut lines = trace.lines()?;
    lines.retain(|line| line.contains("protocol=2054"));
    let [line] = &lines[..] else {
        bail!("{} drops of ARP: {lines:#?}", lines.len());
    };
    ensure!(
        line.contains("location=arp_hidden_unanswered+")
            && line.contains("[arp_hidden]")
            && line.ends_with("reason: NETFILTER_DROP"),
        "{line}"
    );
    Ok(())
}

/// What the module has said to the kernel log since the mark.
fn said(mark: &str) -> Result<Vec<String>> {
    let (_, log) = machine::shell("dmesg")?;
    let since = log.lines().skip_while(|line| !line.ends_with(mark));
    let ours = since.filter_map(|line| line.split_once("arp_hidden: "));
    Ok(ours.map(|(_, text)| text.to_owned()).collect())
}

fn mark(mark: &str) -> Result<String> {
    fs::write("/dev/kmsg", mark)?;
    Ok(mark.to_owned())
}

fn see_log(lab: &mut Lab) -> Result<()> {
    // One line at load, none in normal work.
    lab.run("rmmod arp_hidden")?;
    let start = mark("see_log: loaded")?;
    load()?;
    let (host, _, wire) = real_server(lab)?;
    host.conceal("lo", Way::Hidden)?;
    wire.silent(who_has(VIP))?;
    host.say(VIP, NEIGHBOUR)?;
    host.reveal("lo", Way::Hidden)?;
    host.ip("addr add 10.8.0.0/28 dev lo")?;
    host.conceal("lo", Way::Hidden)?;
    let version = fs::read_to_string("/sys/module/arp_hidden/version")?;
    let line = format!(
        "version {}: net.ipv4.conf.*.hidden and .arp_invisible; source selection on",
        version.trim()
    );
    let lines = said(&start)?;
    ensure!(lines == [line.clone()], "{lines:#?}");

    // A VIP with the mask of its network, however it comes about, and once for each device.
    let wide = |device| {
        format!("{device}: concealed 10.0.0.100/24 routes the network of eth0 too, with 10.0.0.100 as the source: should it be /32?")
    };
    let start = mark("see_log: an address of a concealed device")?;
    host.ip("addr add 10.0.0.100/24 dev lo")?;
    let lines = said(&start)?;
    ensure!(lines == [wide("lo")], "{lines:#?}");
    host.ip("addr del 10.0.0.100/24 dev lo")?;
    host.ip("addr add 10.0.0.100/24 dev lo")?;
    let lines = said(&start)?;
    ensure!(lines == [wide("lo")], "{lines:#?}");
    let start = mark("see_log: a device that becomes concealed")?;
    host.ip("link add dummy0 type dummy")?;
    host.ip("addr add 10.0.0.100/24 dev dummy0")?;
    ensure!(said(&start)?.is_empty());
    host.conf("dummy0", "hidden", 1)?;
    let lines = said(&start)?;
    ensure!(lines == [wide("dummy0")], "{lines:#?}");
    let start = mark("see_log: an address of a visible device")?;
    host.ip("link add dummy1 type dummy")?;
    host.conf("dummy1", "arp_invisible", 1)?;
    host.conf("all", "arp_invisible", 1)?;
    host.ip("addr del 10.0.0.1/24 dev eth0")?;
    host.ip("addr add 10.0.0.100/24 dev dummy1")?;
    ensure!(said(&start)?.is_empty());
    host.ip("addr add 10.0.0.1/24 dev eth0")?;
    let lines = said(&start)?;
    ensure!(lines == [wide("dummy1")], "{lines:#?}");

    // Source selection off by parameter.
    lab.run("rmmod arp_hidden")?;
    let start = mark("see_log: source_selection=0")?;
    lab.run("insmod /arp_hidden.ko source_selection=0")?;
    host.ip("addr del 10.0.0.100/24 dev lo")?;
    host.ip("link del dummy0")?;
    host.ip("link del dummy1")?;
    host.conceal("lo", Way::Invisible)?;
    let line = line.replace("selection on", "selection off, by parameter");
    let lines = said(&start)?;
    ensure!(lines == [line.clone()], "{lines:#?}");
    host.conceal("lo", Way::Hidden)?;
    host.reveal("lo", Way::Hidden)?;
    host.conceal("lo", Way::Strict)?;
    shows(&host, &["lo 2 2 1 1 2 0 0 0 0 0 source_selection=0"])?;
    let off = "source_selection=0: hidden addresses may still be selected as source addresses";
    let lines = said(&start)?;
    ensure!(lines == [line, off.to_owned()], "{lines:#?}");
    lab.run("rmmod arp_hidden")?;
    Ok(())
}

fn see_modinfo(lab: &mut Lab) -> Result<()> {
    for field in [
        "description",
        "author",
        "version",
        "license",
        "srcversion",
        "vermagic",
    ] {
        let value = lab.run(&format!("modinfo -F {field} /arp_hidden.ko"))?;
        ensure!(!value.trim().is_empty(), "no {field}");
    }
    let parameters = lab.run("modinfo -p /arp_hidden.ko")?;
    ensure!(
        parameters.starts_with("source_selection:Keep hidden addresses"),
        "{parameters}"
    );
    Ok(())
}

/// The session in `Documentation/arp_hidden.rst`: what it shows is what comes out.
fn see_session(lab: &mut Lab) -> Result<()> {
    const DOCUMENT: &str = include_str!("../../../../Documentation/arp_hidden.rst");
    let (rs1, client) = (lab.host("rs1")?, lab.host("client")?);
    lab.wire((&rs1, "eth0"), (&client, "eth0"), NEIGHBOUR)?;
    rs1.ip("addr add 10.0.0.1/24 dev eth0")?;
    rs1.ip("addr add 10.0.0.100/32 dev lo")?;
    client.ip("addr add 10.0.0.2/24 dev eth0")?;
    // Who also plays the router, and knows the director to have the VIP.
    client.ip("addr add 10.0.0.254/24 dev eth0")?;
    client.ip("neigh replace 10.0.0.100 lladdr 02:00:00:00:00:64 dev eth0")?;
    fs::write("/sys/kernel/tracing/trace", "")?;
    let (_, documented) = DOCUMENT.split_once("A VIP that wanders").context("gone")?;
    let (mut document, mut session) = (String::new(), String::new());
    for line in documented
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
    {
        document += &format!("{line}\n");
        for host in [&rs1, &client] {
            if let Some(command) = line.strip_prefix(&format!("{host}# ")) {
                session += &format!("{line}\n{}", host.try_run(command)?.1);
            }
        }
    }
    ensure!(
        document
            .lines()
            .map(timeless)
            .eq(session.lines().map(timeless)),
        "the session is now:\n{session}"
    );
    Ok(())
}

/// A line without what is another each time: the time that an answer took, the number of a namespace.
fn timeless(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        if word.ends_with("ms") || word.starts_with("net=") {
            "..."
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
