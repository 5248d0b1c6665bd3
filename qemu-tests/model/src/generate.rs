// SPDX-License-Identifier: GPL-2.0

//! Random operations and probes from a seed.

mod operations;
mod probes;

use crate::{
    host::Host,
    operation::{Directory, Kind, Knob, Operation, Slot},
    prefix::Prefix,
    probe::Probe,
};
use fastrand::Rng;

/// An operation, and the probes after it.
#[derive(Clone, Debug)]
pub struct Step {
    /// The operation.
    pub operation: Operation,
    /// The probes after it.
    pub probes: Vec<Probe>,
}

/// The namespace that a device is chosen from.
#[derive(Clone, Copy)]
enum Of {
    Host,
    Annex,
}

/// Generates steps. It carries them out on a model of its own, so that each is possible.
pub struct Generator {
    rng: Rng,
    host: Host,
    /// The first operations, in reverse order.
    prologue: Vec<Operation>,
    /// The number of fresh addresses so far in 10.0.0.0/24: targets, and senders.
    fresh: [u8; 2],
    /// The number of fresh addresses so far elsewhere.
    far: u16,
}

impl Generator {
    /// Creates the generator of a seed.
    pub fn new(seed: u64) -> Self {
        let mut generator = Self {
            rng: Rng::with_seed(seed),
            host: Host::default(),
            prologue: Vec::new(),
            fresh: [0; 2],
            far: 0,
        };
        generator.prologue = generator.prologue();
        generator
    }

    /// Generates the next step.
    pub fn step(&mut self) -> Step {
        let operation = loop {
            let prologue = self.prologue.pop();
            let operation = prologue.unwrap_or_else(|| self.operation());
            if self.host.can_try(&operation) {
                break operation;
            }
        };
        self.host.apply(&operation);
        let probes = self.probes();
        Step { operation, probes }
    }

    fn any<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(..of.len())]
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    fn slot(&mut self, is_wanted: fn(Kind) -> bool) -> Slot {
        let slots: Vec<Slot> = Slot::all().filter(|slot| is_wanted(slot.kind())).collect();
        self.any(&slots)
    }

    /// Returns a device that exists, in the host or in its second namespace.
    fn device(&mut self, of: Of) -> Slot {
        let slots: Vec<Slot> = match (of, self.host.annex()) {
            (Of::Annex, Some(annex)) => annex.slots().collect(),
            _ => self.host.slots().collect(),
        };
        self.any(&slots)
    }

    fn directory(&mut self, of: Of) -> Directory {
        match self.rng.u32(..100) {
            0..18 => Directory::All,
            18..30 => Directory::Default,
            _ => Directory::Device(self.device(of)),
        }
    }

    fn knob(&mut self) -> Knob {
        match self.rng.u32(..100) {
            0..45 => Knob::Hidden,
            45..65 => Knob::ArpInvisible,
            65..73 => Knob::ArpIgnore,
            73..83 => Knob::ArpAnnounce,
            83..87 => Knob::ArpFilter,
            87..92 => Knob::RpFilter,
            92..97 => Knob::AcceptLocal,
            _ => Knob::PromoteSecondaries,
        }
    }

    /// Returns all addresses except lo's 127.0.0.1.
    fn configured(&self) -> Vec<(Slot, Prefix)> {
        let of = |slot| {
            self.host
                .addresses(slot)
                .iter()
                .map(move |a| (slot, a.prefix))
        };
        let all = self.host.slots().flat_map(of);
        all.filter(|(_, prefix)| !prefix.addr.is_loopback())
            .collect()
    }
}

fn is_any(_: Kind) -> bool {
    true
}

fn is_virtual(kind: Kind) -> bool {
    matches!(kind, Kind::Dummy | Kind::Vrf(_))
}

fn is_dummy(kind: Kind) -> bool {
    kind == Kind::Dummy
}

fn is_member(kind: Kind) -> bool {
    matches!(kind, Kind::Wire | Kind::Dummy)
}

fn is_vrf(kind: Kind) -> bool {
    matches!(kind, Kind::Vrf(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Seen;

    #[test]
    fn a_seed_says_all() {
        let of = |seed| format!("{:?}", Generator::new(seed).step());
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    /// A comparison proves little if the module never makes a difference.
    #[test]
    fn the_flags_make_a_difference_often() {
        let (mut made, mut decided, mut otherwise) = ([0; 4], [0; 4], [0; 4]);
        for seed in 0..40 {
            let mut generator = Generator::new(seed);
            for _ in 0..60 {
                let step = generator.step();
                let mut stock = generator.host.clone();
                stock.all = Default::default();
                for probe in &step.probes {
                    let (kind, nothing) = match probe {
                        Probe::Ask { .. } => (
                            0,
                            Seen::Answer {
                                is_answered: false,
                                is_learnt: false,
                            },
                        ),
                        Probe::Resolve { .. } => (1, Seen::Sender(None)),
                        Probe::Connect { .. } => (2, Seen::Source(None)),
                        Probe::Read(..) | Probe::ReadInAnnex(..) => (3, Seen::Value(None)),
                    };
                    let Some(seen) = generator.host.predict(probe) else {
                        continue;
                    };
                    made[kind] += 1;
                    decided[kind] += usize::from(stock.predict(probe) != Some(seen));
                    otherwise[kind] += usize::from(seen != nothing);
                }
            }
        }
        println!("{made:?} {decided:?} {otherwise:?}");
        let [asks, resolves, connects, reads] = made;
        assert!(asks > 8000 && resolves > 4000 && connects > 3500 && reads > 3500);
        assert!(decided[0] * 10 > asks && otherwise[0] * 4 > asks);
        assert!(decided[1] * 10 > resolves && otherwise[1] * 2 > resolves);
        assert!(decided[2] * 50 > connects && otherwise[2] * 3 > connects);
    }
}
