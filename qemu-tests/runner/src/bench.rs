// SPDX-License-Identifier: GPL-2.0

//! `make bench`: what events cost, as tables and a chart, against the bounds that the module is to keep and
//! against the figures that were committed.

use crate::{
    chart,
    vm::{Config, Vm},
    Lab,
};
use anyhow::{bail, Context, Result};
use protocol::{
    bench::{Event, Figure, Setup, Size, Unit},
    Order, Report,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::Path,
    process::ExitCode,
    time::Instant, //
};

/// All figures of a run.
#[derive(Serialize, Deserialize)]
pub(crate) struct Figures {
    /// The kernel's release.
    kernel: String,
    figures: Vec<Figure>,
}

/// Runs the benchmark. The figures are compared with those in `documentation`, and take their place if
/// `update` says so.
pub(crate) fn run(lab: &Lab, documentation: &Path, quick: bool, update: bool) -> Result<ExitCode> {
    let start = Instant::now();
    let figures = measure(lab, quick)?;
    let bounds = figures.bounds();
    let tables = figures.tables() + &tell_bounds(&bounds);
    println!("{tables}");
    fs::write(lab.logs.join("bench.json"), figures.json()?)?;
    let committed = documentation.join("bench.json");
    let worse = match fs::read(&committed) {
        Ok(json) => {
            let committed: Figures =
                serde_json::from_slice(&json).context("the committed figures")?;
            figures.tell_changes(&committed)
        }
        Err(_) => {
            println!(
                "{} does not exist: nothing to compare with",
                committed.display()
            );
            0
        }
    };
    if update {
        fs::write(&committed, figures.json()?)?;
        chart::draw(&figures, &documentation.join("bench.svg"))?;
        insert(&documentation.join("benchmark.md"), &tables)?;
    }
    println!(
        "{}: {} s; all figures in {}",
        figures.kernel,
        start.elapsed().as_secs(),
        lab.logs.join("bench.json").display()
    );
    Ok(if worse == 0 || update {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn measure(lab: &Lab, quick: bool) -> Result<Figures> {
    let mut vm = Vm::start(&Config {
        name: "bench",
        boot: lab.boot(),
        logs: &lab.logs,
        cpus: 1,
        memory: 1024,
        devices: Vec::new(),
        count_instructions: true,
        can_be_put_back: false,
    })?;
    vm.ready()?;
    vm.order(&Order::Bench { quick })?;
    let mut figures = Vec::new();
    loop {
        match vm.report()? {
            Report::Note(note) => eprintln!("{note}"),
            Report::Figure(figure) => figures.push(figure),
            Report::Done { .. } => break,
            other => bail!("{other:?} where a figure was to come"),
        }
    }
    let complaints = vm.finish()?;
    if !complaints.is_empty() {
        bail!("the kernel complained:\n{}", complaints.join("\n"));
    }
    Ok(Figures {
        kernel: lab.kernel.release.clone(),
        figures,
    })
}

/// Puts the tables between the marks of a document.
fn insert(document: &Path, tables: &str) -> Result<()> {
    const BEGIN: &str = "<!-- figures: make bench UPDATE=1 -->\n";
    const END: &str = "<!-- end of figures -->";
    let text = fs::read_to_string(document)?;
    let (before, rest) = text.split_once(BEGIN).context("no mark for the figures")?;
    let (_, after) = rest.split_once(END).context("no mark for their end")?;
    fs::write(document, format!("{before}{BEGIN}\n{tables}\n{END}{after}"))?;
    Ok(())
}

/// What the module is to keep to, and whether it does.
struct Bound {
    what: String,
    kept: bool,
}

fn tell_bounds(bounds: &[Bound]) -> String {
    let mut text = "\n### Bounds\n\n".to_owned();
    for bound in bounds {
        let kept = if bound.kept { "kept" } else { "**MISSED**" };
        text += &format!("- {kept}: {}\n", bound.what);
    }
    text
}

const PEERS: &[Setup] = &[
    Setup::ArpIgnore,
    Setup::ArptablesDrop,
    Setup::NftRules,
    Setup::NftSet,
];
const PACKETS: &[Event] = &[
    Event::FrameSent,
    Event::FrameUntaken,
    Event::ArpVip,
    Event::ArpOwn,
    Event::ArpForeign,
    Event::Announce,
    Event::ConnectRoute,
    Event::ConnectOwn,
    Event::ConnectFallback,
    Event::IcmpError,
    Event::Masquerade,
];
const OPERATIONS: &[Event] = &[
    Event::KnobOfKernel,
    Event::KnobFirst,
    Event::KnobNext,
    Event::AddressAdd,
    Event::DeviceAdd,
    Event::NamespaceAdd,
];

impl Figures {
    /// The figure of an event, measured for the first time.
    pub(crate) fn get(&self, size: Size, event: Event, setup: Setup) -> Option<f64> {
        self.round(size, event, setup, 0)
    }

    fn round(&self, size: Size, event: Event, setup: Setup, round: u32) -> Option<f64> {
        self.figures
            .iter()
            .find(|figure| {
                (figure.size, figure.event, figure.setup, figure.round)
                    == (size, event, setup, round)
            })
            .map(|figure| figure.value as f64)
    }

    /// The larger of the two figures without the module: what is beyond it did not drift there.
    fn without(&self, size: Size, event: Event) -> Option<f64> {
        let of = |round| self.round(size, event, Setup::Without, round);
        Some(of(0)?.max(of(1)?))
    }

    /// The sizes of hosts, without those that differ in their namespaces only.
    pub(crate) fn sizes(&self) -> BTreeSet<Size> {
        self.figures
            .iter()
            .map(|figure| figure.size)
            .filter(|size| size.namespaces == 0)
            .collect()
    }

    /// JSON, a figure a line.
    fn json(&self) -> Result<String> {
        let mut text = format!(
            "{{\n\"kernel\": {},\n\"figures\": [\n",
            serde_json::to_string(&self.kernel)?
        );
        for (at, figure) in self.figures.iter().enumerate() {
            let comma = if at + 1 < self.figures.len() { "," } else { "" };
            writeln!(text, "{}{comma}", serde_json::to_string(figure)?)?;
        }
        Ok(text + "]\n}\n")
    }

    /// Says what is better and what is worse than in `committed`; how many are worse.
    fn tell_changes(&self, committed: &Figures) -> usize {
        if self.kernel != committed.kernel {
            println!("the committed figures are of kernel {}", committed.kernel);
        }
        let mut worse = 0;
        for new in &self.figures {
            let Some(old) = committed.round(new.size, new.event, new.setup, new.round) else {
                continue;
            };
            let slack = slack(new.event, old);
            let now = new.value as f64;
            let change = if now > old + slack {
                worse += 1;
                "worse"
            } else if now < old - slack {
                "better"
            } else {
                continue;
            };
            println!(
                "{change}: {} {} {}: {} where {} is committed",
                name(new.event),
                setup_name(new.setup),
                size_name(new.size),
                number(now),
                number(old)
            );
        }
        println!("{worse} figures are worse than the committed ones");
        worse
    }

    fn bounds(&self) -> Vec<Bound> {
        let mut bounds = Vec::new();
        self.bound_of_noise(&mut bounds);
        self.bound_of_visible(&mut bounds);
        self.bound_of_unanswered(&mut bounds);
        self.bound_of_size(&mut bounds);
        self.bound_of_selection(&mut bounds);
        self.bound_of_operations(&mut bounds);
        bounds
    }

    /// Flags 0: no difference within the repeatability.
    fn bound_of_noise(&self, bounds: &mut Vec<Bound>) {
        for setup in [Setup::Loaded, Setup::Elsewhere] {
            let worst = self.worst(PACKETS, |size, event| {
                let without = self.without(size, event)?;
                Some((self.get(size, event, setup)? - without).max(0.0) / without)
            });
            if let Some((share, size, event)) = worst {
                bounds.push(Bound {
                    what: format!(
                        "{}: at most {:+.2} % beyond the two measurements without the module ({}, {})",
                        setup_name(setup), share * 100.0, name(event), size_name(size)
                    ),
                    kept: setup != Setup::Loaded || share <= 0.001,
                });
            }
        }
    }

    /// A visible or foreign address with flags on: at most 1 % more.
    fn bound_of_visible(&self, bounds: &mut Vec<Bound>) {
        for event in [Event::ArpOwn, Event::ArpForeign] {
            let worst = self.worst(&[event], |size, event| {
                Some(self.get(size, event, Setup::Hidden)? / self.without(size, event)? - 1.0)
            });
            if let Some((share, size, _)) = worst {
                bounds.push(Bound {
                    what: format!(
                        "{} with lo hidden: at most +1 %, it is {:+.2} % ({})",
                        name(event),
                        share * 100.0,
                        size_name(size)
                    ),
                    kept: share <= 0.01,
                });
            }
        }
    }

    /// The unanswered VIP: less than each peer, and of what the host does itself at most 0.85 of arp_ignore.
    fn bound_of_unanswered(&self, bounds: &mut Vec<Bound>) {
        let share = |size, peer, event: Option<Event>| {
            let sent = event.map_or(Some(0.0), |event| self.get(size, event, Setup::Hidden))?;
            let of = |setup| Some(self.get(size, Event::ArpVip, setup)? - sent);
            Some(of(Setup::Hidden)? / of(peer)?)
        };
        for (limit, peer, sent, what) in [
            (
                0.85,
                Setup::ArpIgnore,
                Some(Event::FrameSent),
                "what the host itself does about an unanswered request",
            ),
            (
                0.85,
                Setup::ArpIgnore,
                None,
                "an unanswered request, its sending included",
            ),
            (1.0, Setup::ArptablesDrop, None, "an unanswered request"),
            (1.0, Setup::NftRules, None, "an unanswered request"),
            (1.0, Setup::NftSet, None, "an unanswered request"),
        ] {
            let worst = self.worst(&[Event::ArpVip], |size, _| share(size, peer, sent));
            if let Some((share, size, _)) = worst {
                bounds.push(Bound {
                    what: format!(
                        "{what}: at most {limit} of {}, it is {share:.3} ({})",
                        setup_name(peer),
                        size_name(size)
                    ),
                    kept: share <= limit,
                });
            }
        }
    }

    /// The largest host: within 5 % of the smallest.
    fn bound_of_size(&self, bounds: &mut Vec<Bound>) {
        let sizes = self.sizes();
        let (Some(&small), Some(&large)) = (sizes.first(), sizes.last()) else {
            return;
        };
        for event in [Event::ArpVip, Event::ArpOwn, Event::ArpForeign] {
            let of = |size| self.get(size, event, Setup::Hidden);
            if let (Some(small), Some(value)) = (of(small), of(large)) {
                let share = value / small - 1.0;
                bounds.push(Bound {
                    what: format!(
                        "{} with lo hidden: within 5 % of the smallest host, it is {:+.2} % ({})",
                        name(event),
                        share * 100.0,
                        size_name(large)
                    ),
                    kept: share <= 0.05,
                });
            }
        }
    }

    /// A redirected selection whose result is visible: at most 150 instructions more.
    fn bound_of_selection(&self, bounds: &mut Vec<Bound>) {
        for event in [Event::ConnectFallback, Event::IcmpError, Event::Masquerade] {
            let worst = self.worst(&[event], |size, event| {
                Some(self.get(size, event, Setup::Eth1Hidden)? - self.without(size, event)?)
            });
            if let Some((more, size, _)) = worst {
                bounds.push(Bound {
                    what: format!(
                        "{}, redirected: at most 150 instructions more, it is {more:+} ({})",
                        name(event),
                        size_name(size)
                    ),
                    kept: more <= 150.0,
                });
            }
        }
    }

    /// A first write with 10,000 addresses: under 50 ms.
    fn bound_of_operations(&self, bounds: &mut Vec<Bound>) {
        let worst = self.worst(&[Event::KnobFirst], |size, event| {
            self.get(size, event, Setup::Loaded)
        });
        if let Some((taken, size, _)) = worst {
            bounds.push(Bound {
                what: format!(
                    "the first write that conceals: under 50 ms, it is {:.1} ms ({})",
                    taken / 1e6,
                    size_name(size)
                ),
                kept: taken < 50e6,
            });
        }
    }

    fn worst(
        &self,
        events: &[Event],
        of: impl Fn(Size, Event) -> Option<f64>,
    ) -> Option<(f64, Size, Event)> {
        let mut all = Vec::new();
        for size in self.sizes() {
            for &event in events {
                all.extend(of(size, event).map(|value| (value, size, event)));
            }
        }
        all.into_iter().max_by(|a, b| a.0.total_cmp(&b.0))
    }

    fn tables(&self) -> String {
        let mut text = format!(
            "Kernel {}. Instructions, and their ratio to those without the module.\n",
            self.kernel
        );
        text += &self.table(
            "ARP requests received",
            &PACKETS[..5],
            &[
                Setup::Without,
                Setup::Loaded,
                Setup::Elsewhere,
                Setup::Hidden,
                Setup::ArpIgnore,
                Setup::ArptablesDrop,
                Setup::NftRules,
                Setup::NftSet,
            ],
            |value, without| format!("{} ({:.3})", number(value), value / without),
        );
        text += &self.table_of_peers();
        text += &self.table(
            "ARP requests sent",
            &[Event::Announce],
            &[
                Setup::Without,
                Setup::Loaded,
                Setup::Elsewhere,
                Setup::Hidden,
                Setup::ArpAnnounce,
                Setup::ArptablesMangle,
            ],
            |value, without| format!("{} ({:.3})", number(value), value / without),
        );
        text += &self.table(
            "Source addresses selected (difference in instructions)",
            &PACKETS[6..],
            &[
                Setup::Without,
                Setup::Loaded,
                Setup::Elsewhere,
                Setup::Eth1Hidden,
                Setup::Hidden,
            ],
            |value, without| format!("{} ({:+})", number(value), value - without),
        );
        text += &self.table(
            "What the operator does (microseconds of the machine: 1,000 instructions, or waiting)",
            OPERATIONS,
            &[Setup::Without, Setup::Loaded, Setup::Hidden],
            |value, _| format!("{:.1}", value / 1000.0),
        );
        text + &self.table_of_memory()
    }

    fn table(
        &self,
        title: &str,
        events: &[Event],
        setups: &[Setup],
        cell: impl Fn(f64, f64) -> String,
    ) -> String {
        let mut text = format!("\n### {title}\n\n| | addresses | interfaces |");
        for &setup in setups {
            text += &format!(" {} |", setup_name(setup));
        }
        text += &format!("\n|---|--:|--:|{}\n", "--:|".repeat(setups.len()));
        for &event in events {
            for size in self.sizes() {
                let values: Vec<Option<f64>> = setups
                    .iter()
                    .map(|&setup| self.get(size, event, setup))
                    .collect();
                if values.iter().all(Option::is_none) {
                    continue;
                }
                text += &format!(
                    "| {} | {} | {} |",
                    name(event),
                    number(size.vips.into()),
                    number(size.interfaces.into())
                );
                let without = self.get(size, event, Setup::Without).unwrap_or(f64::NAN);
                for value in values {
                    text += &match value {
                        Some(value) => format!(" {} |", cell(value, without)),
                        None => " |".to_owned(),
                    };
                }
                text.push('\n');
            }
        }
        text
    }

    /// An unanswered request, hidden, against each peer.
    fn table_of_peers(&self) -> String {
        let mut text = "\n### An unanswered request: hidden against each peer\n\n".to_owned();
        text += "| addresses | interfaces |";
        for &peer in PEERS {
            text += &format!(" / {} |", setup_name(peer));
        }
        text += &format!("\n|--:|--:|{}\n", "--:|".repeat(PEERS.len()));
        for size in self.sizes() {
            text += &format!(
                "| {} | {} |",
                number(size.vips.into()),
                number(size.interfaces.into())
            );
            let hidden = self.get(size, Event::ArpVip, Setup::Hidden);
            for &peer in PEERS {
                let ratio = hidden
                    .zip(self.get(size, Event::ArpVip, peer))
                    .map_or(f64::NAN, |(hidden, peer)| hidden / peer);
                text += &format!(" {ratio:.3} |");
            }
            text.push('\n');
        }
        text
    }

    fn table_of_memory(&self) -> String {
        let mut text = "\n### Loading, and memory\n\n\
                        | addresses | interfaces | other namespaces | load (ms) | unload (ms) | memory when loaded (KiB) | and when lo is hidden (KiB) |\n\
                        |--:|--:|--:|--:|--:|--:|--:|\n"
            .to_owned();
        let sizes: BTreeSet<Size> = self.figures.iter().map(|figure| figure.size).collect();
        for &size in &sizes {
            let of = |event, unit: f64| {
                self.get(size, event, Setup::Hidden)
                    .map_or_else(String::new, |value| format!("{:.1}", value / unit))
            };
            text += &format!(
                "| {} | {} | {} | {} | {} | {} | {} |\n",
                number(size.vips.into()),
                number(size.interfaces.into()),
                size.namespaces,
                of(Event::Load, 1e6),
                of(Event::Unload, 1e6),
                of(Event::MemoryLoaded, 1024.0),
                of(Event::MemoryHidden, 1024.0),
            );
        }
        text + &self.memory_of_each(&sizes)
    }

    /// The memory for each thing, by the difference between hosts that differ in their number.
    fn memory_of_each(&self, sizes: &BTreeSet<Size>) -> String {
        let Some(small) = sizes.first() else {
            return String::new();
        };
        let mut text = String::new();
        let mut each = |what: &str, event, large: Option<&Size>, count: fn(&Size) -> u32| {
            let Some(large) = large else { return };
            let of = |size: &Size| self.get(*size, event, Setup::Hidden);
            if let (Some(more), Some(less)) = (of(large), of(small)) {
                let number = f64::from(count(large) - count(small));
                text += &format!("\nFor each {what}: {:.0} bytes.\n", (more - less) / number);
            }
        };
        let of = |vips, interfaces| {
            sizes.iter().find(move |size| {
                size.vips == vips && size.interfaces == interfaces && size.namespaces == 0
            })
        };
        each("interface", Event::MemoryLoaded, of(1, 1_000), |size| {
            size.interfaces
        });
        each(
            "address, while something is hidden",
            Event::MemoryHidden,
            of(10_000, 3),
            |size| size.vips,
        );
        each(
            "namespace, with its lo",
            Event::MemoryLoaded,
            sizes.iter().find(|size| size.namespaces > 0),
            |size| size.namespaces,
        );
        text
    }
}

/// How much worse than `old` a figure of an event may be by chance.
fn slack(event: Event, old: f64) -> f64 {
    const MILLISECOND: f64 = 1e6;
    match (event, event.unit()) {
        // RCU tasks, which ftrace waits for, look again every 100 ms.
        (Event::Load | Event::Unload, _) => 200.0 * MILLISECOND,
        // RCU waits for a tick.
        (Event::KnobFirst, _) => 4.0 * MILLISECOND,
        (_, Unit::Instructions) => (old * 0.005).max(16.0),
        (_, Unit::Nanoseconds) => (old * 0.05).max(1000.0),
        // What slabs hand out depends on what they had.
        (_, Unit::Bytes) => (old * 0.1).max(65_536.0),
    }
}

/// An event, in a few words.
fn name(event: Event) -> &'static str {
    match event {
        Event::FrameSent => "a frame that only is sent",
        Event::FrameUntaken => "a frame that nobody takes",
        Event::ArpVip => "request for an address on lo",
        Event::ArpOwn => "request for an address of eth0",
        Event::ArpForeign => "request for a foreign address",
        Event::Announce => "datagram to a new neighbour, from an address on lo",
        Event::ConnectRoute => "connection, source cached by the route",
        Event::ConnectOwn => "connection out of eth0, no route",
        Event::ConnectFallback => "connection out of eth1, no route",
        Event::IcmpError => "ICMP error, from the address of eth1",
        Event::Masquerade => "connection masqueraded out of eth1",
        Event::KnobFirst => "first write to hidden",
        Event::KnobNext => "another write to hidden",
        Event::KnobOfKernel => "write to arp_ignore",
        Event::AddressAdd => "address added",
        Event::DeviceAdd => "device added",
        Event::NamespaceAdd => "namespace made",
        Event::Load => "load",
        Event::Unload => "unload",
        Event::MemoryLoaded => "memory when loaded",
        Event::MemoryHidden => "memory when lo is hidden",
    }
}

/// A set-up, in a few words.
pub(crate) fn setup_name(setup: Setup) -> &'static str {
    match setup {
        Setup::Without => "no module",
        Setup::Loaded => "flags 0",
        Setup::Elsewhere => "hidden in another namespace",
        Setup::Hidden => "lo hidden",
        Setup::Eth1Hidden => "eth1 hidden",
        Setup::ArpIgnore => "arp_ignore=1",
        Setup::ArpAnnounce => "arp_announce=2",
        Setup::ArptablesDrop => "arptables",
        Setup::ArptablesMangle => "arptables mangle",
        Setup::NftRules => "nft rules",
        Setup::NftSet => "nft set",
    }
}

fn size_name(size: Size) -> String {
    let mut text = format!(
        "{} addresses, {} interfaces",
        number(size.vips.into()),
        number(size.interfaces.into())
    );
    if size.namespaces > 0 {
        text += &format!(", {} more namespaces", size.namespaces);
    }
    text
}

/// A whole number, in groups of three digits.
fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
