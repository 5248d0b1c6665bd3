// SPDX-License-Identifier: GPL-2.0

//! `make bench`: what events cost a host, in instructions.
//!
//! The machine has one processor and a time stamp counter that counts its instructions. On one processor, what
//! a frame that is sent over a veth pair sets off is over when the system call returns: the receiving end's
//! softirq runs before that. So the counter is read before and after one system call, many times. Ticks and
//! deferred work of the kernel's only ever add to that: a low quantile is the cost.

mod batches;
mod counter;
mod events;
mod memory;
mod site;

pub(crate) use batches::run as batches;

use crate::{
    lab::{
        batch::lines,
        module::{load, unload},
        Way,
    },
    line::Line,
    machine,
};
use anyhow::Result;
use protocol::{
    bench::{Event, Setup, Size},
    Report,
};
use site::{vip, Site, HOST};
use std::fs;

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

impl Site<'_> {
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

        if machine::is_real_time()? {
            self.line
                .report(&Report::Note("PREEMPT_RT has no arptables".to_owned()))?;
        } else {
            self.arptables()?;
        }
        let vips = 1..=self.size.vips;
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

    fn arptables(&mut self) -> Result<()> {
        // A name with many addresses: one run of arptables makes a rule of each.
        fs::write(
            "/etc/hosts",
            lines(1..=self.size.vips, |n| format!("{} vips", vip(n))),
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
        Ok(())
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
}
