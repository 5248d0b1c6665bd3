// SPDX-License-Identifier: GPL-2.0

//! The few figures that Documentation/benchmark.md shows.

use super::{
    bounds::tell_missed,
    figures::Figures,
    names::{number, setup_name},
};
use protocol::bench::{Event, Setup, Size};

/// An event with the module's flags set, and the set-ups that do the same without the module, one for each of
/// [`PEERS`].
struct Row {
    what: &'static str,
    event: Event,
    setup: Setup,
    peers: [Option<Setup>; PEERS.len()],
}

/// What the columns of peers are called.
const PEERS: [&str; 4] = [
    "arp_ignore=1, arp_announce=2",
    "arptables",
    "nft rules",
    "nft set",
];

const DROPPING: [Option<Setup>; PEERS.len()] = [
    Some(Setup::ArpIgnore),
    Some(Setup::ArptablesDrop),
    Some(Setup::NftRules),
    Some(Setup::NftSet),
];

const ROWS: [Row; 5] = [
    Row {
        what: "request for a VIP, no reply",
        event: Event::ArpVip,
        setup: Setup::Hidden,
        peers: DROPPING,
    },
    Row {
        what: "request for the host's own address",
        event: Event::ArpOwn,
        setup: Setup::Hidden,
        peers: DROPPING,
    },
    Row {
        what: "request for a foreign address",
        event: Event::ArpForeign,
        setup: Setup::Hidden,
        peers: DROPPING,
    },
    Row {
        what: "datagram from a VIP to a new neighbour",
        event: Event::Announce,
        setup: Setup::Hidden,
        peers: [
            Some(Setup::ArpAnnounce),
            Some(Setup::ArptablesMangle),
            None,
            None,
        ],
    },
    Row {
        what: "connection, selection redirected",
        event: Event::ConnectFallback,
        setup: Setup::Eth1Hidden,
        peers: [None; PEERS.len()],
    },
];

impl Figures {
    /// The figures that matter, with their ratios to each peer, on the hosts with the fewest and the most addresses.
    pub(super) fn summary(&self) -> String {
        let mut text = format!(
            "Kernel {}. Instructions with the module, and their ratio to those without it and to each peer:\n\n",
            self.kernel
        );
        text += &format!(
            "| | VIPs | instructions | / {} |",
            setup_name(Setup::Without)
        );
        for peer in PEERS {
            text += &format!(" / {peer} |");
        }
        text += &format!("\n|---|--:|--:|--:|{}\n", "--:|".repeat(PEERS.len()));
        for row in &ROWS {
            for size in self.extremes() {
                let Some(value) = self.get(size, row.event, row.setup) else {
                    continue;
                };
                let ratio = |peer| {
                    let peer = self.get(size, row.event, peer?)?;
                    Some(format!("{:.3}", value / peer))
                };
                text += &format!(
                    "| {} | {} | {} |",
                    row.what,
                    number(size.vips.into()),
                    number(value)
                );
                for peer in [Some(Setup::Without)].into_iter().chain(row.peers) {
                    text += &format!(" {} |", ratio(peer).unwrap_or_default());
                }
                text.push('\n');
            }
        }
        text += &self.limit();
        if !self.batches.is_empty() {
            text += &self.table_of_batches();
        }
        text += "\n### Missed bounds\n\n";
        text + &tell_missed(&self.bounds())
    }

    /// How far the host's part of an unanswered request is from that of a frame that no protocol takes.
    fn limit(&self) -> String {
        let mut text = String::new();
        for size in self.extremes() {
            let host = |event| {
                let of = |event| self.get(size, event, Setup::Hidden);
                Some(of(event)? - of(Event::FrameSent)?)
            };
            if let (Some(request), Some(frame)) = (host(Event::ArpVip), host(Event::FrameUntaken)) {
                text += &format!(
                    "\nVIPs: {}. The host spends {} instructions on an unanswered request, and {} on a frame that no \
                     protocol takes: {:.2}.\n",
                    number(size.vips.into()),
                    number(request),
                    number(frame),
                    request / frame
                );
            }
        }
        text
    }

    /// The hosts with the fewest and the most addresses, of those with the fewest interfaces.
    fn extremes(&self) -> Vec<Size> {
        let sizes = self.sizes();
        let fewest = sizes.first().map(|size| size.interfaces);
        let mut sizes = sizes
            .into_iter()
            .filter(|size| Some(size.interfaces) == fewest);
        let first = sizes.next();
        first.into_iter().chain(sizes.last()).collect()
    }
}
