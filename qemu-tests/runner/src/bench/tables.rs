// SPDX-License-Identifier: GPL-2.0

//! The figures as tables.

use super::{
    figures::{Figures, PACKETS},
    names::{doing_name, name, number, setup_name},
};
use protocol::bench::{Event, Setup, Size};
use std::collections::BTreeSet;

const PEERS: &[Setup] = &[
    Setup::ArpIgnore,
    Setup::ArptablesDrop,
    Setup::NftRules,
    Setup::NftSet,
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
    /// All of them.
    pub(super) fn tables(&self) -> String {
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
        text + &self.table_of_batches() + &self.table_of_memory()
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

    pub(super) fn table_of_batches(&self) -> String {
        let mut text = "\n### Many addresses at once, on a hidden dummy\n\n\
                        | kernel | processors | addresses | | no module (ms) | dummy hidden (ms) | ratio |\n\
                        |---|--:|--:|---|--:|--:|--:|\n"
            .to_owned();
        for (release, batches) in &self.batches {
            for batch in batches {
                text += &format!(
                    "| {release} | {} | {} | {} | {} | {} | {:.3} |\n",
                    batch.processors,
                    number(batch.addresses.into()),
                    doing_name(batch.doing),
                    number(batch.without_ms),
                    number(batch.hidden_ms),
                    batch.ratio
                );
            }
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
