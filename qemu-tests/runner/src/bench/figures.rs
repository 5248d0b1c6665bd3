// SPDX-License-Identifier: GPL-2.0

//! The figures of a run.

use anyhow::Result;
use protocol::bench::{Batch, Event, Figure, Setup, Size};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// All figures of a run.
#[derive(Serialize, Deserialize)]
pub(super) struct Figures {
    /// The kernel's release.
    pub(super) kernel: String,
    /// Each that was measured.
    pub(super) figures: Vec<Figure>,
    /// What is done to many addresses at once, by the release of the kernel.
    #[serde(default)]
    pub(super) batches: BTreeMap<String, Vec<Batch>>,
}

/// What a release is of, without its version: `cloud-amd64`.
fn flavour(release: &str) -> &str {
    release.split_once('-').map_or("", |(_, flavour)| flavour)
}

/// What packets and look-ups cost.
pub(super) const PACKETS: &[Event] = &[
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

impl Figures {
    /// The figure of an event, measured for the first time.
    pub(super) fn get(&self, size: Size, event: Event, setup: Setup) -> Option<f64> {
        self.round(size, event, setup, 0)
    }

    /// The figure of a round: what is measured again shows what drifts.
    pub(super) fn round(&self, size: Size, event: Event, setup: Setup, round: u32) -> Option<f64> {
        self.figures
            .iter()
            .find(|figure| {
                (figure.size, figure.event, figure.setup, figure.round)
                    == (size, event, setup, round)
            })
            .map(|figure| figure.value as f64)
    }

    /// The larger of the two figures without the module: what is beyond it did not drift there.
    pub(super) fn without(&self, size: Size, event: Event) -> Option<f64> {
        let of = |round| self.round(size, event, Setup::Without, round);
        Some(of(0)?.max(of(1)?))
    }

    /// The sizes of hosts, without those that differ in their namespaces only.
    pub(super) fn sizes(&self) -> BTreeSet<Size> {
        self.figures
            .iter()
            .map(|figure| figure.size)
            .filter(|size| size.namespaces == 0)
            .collect()
    }

    /// Whether both are of the same flavour of the kernel: only then can they be compared.
    pub(super) fn comparable(&self, other: &Figures) -> bool {
        flavour(&self.kernel) == flavour(&other.kernel)
    }

    /// What takes the place of the committed figures. Those of another flavour of the kernel stay, and it adds its
    /// batches to them.
    pub(super) fn in_place_of(self, committed: Figures) -> Figures {
        let mut batches = committed.batches.clone();
        batches.retain(|release, _| flavour(release) != flavour(&self.kernel));
        batches.extend(self.batches.clone());
        let stays = if self.comparable(&committed) {
            self
        } else {
            committed
        };
        Figures { batches, ..stays }
    }

    /// JSON, a figure a line.
    pub(super) fn json(&self) -> Result<String> {
        let mut text = format!(
            "{{\n\"kernel\": {},\n\"figures\": [\n",
            serde_json::to_string(&self.kernel)?
        );
        for (at, figure) in self.figures.iter().enumerate() {
            let comma = if at + 1 < self.figures.len() { "," } else { "" };
            writeln!(text, "{}{comma}", serde_json::to_string(figure)?)?;
        }
        text += "],\n\"batches\": {\n";
        for (at, (release, batches)) in self.batches.iter().enumerate() {
            let lines: Result<Vec<String>, _> = batches.iter().map(serde_json::to_string).collect();
            let comma = if at + 1 < self.batches.len() { "," } else { "" };
            let release = serde_json::to_string(release)?;
            writeln!(text, "{release}: [\n{}\n]{comma}", lines?.join(",\n"))?;
        }
        Ok(text + "}\n}\n")
    }

    /// The largest of what `of` makes of the figures of each host and each of these events.
    pub(super) fn worst(
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
}
