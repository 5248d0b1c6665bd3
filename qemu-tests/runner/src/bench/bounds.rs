// SPDX-License-Identifier: GPL-2.0

//! What the module is to keep to, and whether it does.

use super::{
    figures::{Figures, PACKETS},
    names::{doing_name, name, number, setup_name, size_name},
};
use protocol::bench::{Event, Setup};

/// What the module is to keep to, and whether it does.
pub(super) struct Bound {
    what: String,
    kept: bool,
}

/// All bounds, as a list.
pub(super) fn tell_bounds(bounds: &[Bound]) -> String {
    let mut text = "\n### Bounds\n\n".to_owned();
    for bound in bounds {
        let kept = if bound.kept { "kept" } else { "**MISSED**" };
        text += &format!("- {kept}: {}\n", bound.what);
    }
    text
}

/// The bounds that are missed, as a list.
pub(super) fn tell_missed(bounds: &[Bound]) -> String {
    let mut text = String::new();
    for bound in bounds.iter().filter(|bound| !bound.kept) {
        text += &format!("- {}\n", bound.what);
    }
    text
}

impl Figures {
    pub(super) fn bounds(&self) -> Vec<Bound> {
        let mut bounds = Vec::new();
        self.bound_of_noise(&mut bounds);
        self.bound_of_visible(&mut bounds);
        self.bound_of_unanswered(&mut bounds);
        self.bound_of_size(&mut bounds);
        self.bound_of_selection(&mut bounds);
        self.bound_of_operations(&mut bounds);
        self.bound_of_batches(&mut bounds);
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

    /// Many addresses at once, on several processors: at most 1.1 times what it takes without the module.
    fn bound_of_batches(&self, bounds: &mut Vec<Bound>) {
        for (release, batches) in &self.batches {
            for batch in batches {
                bounds.push(Bound {
                    what: format!(
                        "{} {} addresses on a hidden dummy: at most 1.1 of what it takes without the module, it is {:.3} ({release}, {} processors)",
                        doing_name(batch.doing),
                        number(batch.addresses.into()),
                        batch.ratio,
                        batch.processors
                    ),
                    kept: batch.ratio <= 1.1,
                });
            }
        }
    }
}
