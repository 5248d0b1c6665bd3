// SPDX-License-Identifier: GPL-2.0

//! Random operations and probes, all from one seed.

use crate::{
    operation::Kind,
    Cast,
    Directory,
    Host,
    Knob,
    Operation,
    Prefix,
    Probe,
    Scope,
    Slot, //
};
use fastrand::Rng;
use std::net::Ipv4Addr;

/// An operation, and the probes after it.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is done.
    pub operation: Operation,
    /// What is looked at then.
    pub probes: Vec<Probe>,
}

/// The addresses that devices may have: few, so that they meet.
const ADDRESSES: [Ipv4Addr; 7] = [
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(10, 0, 0, 2),
    Ipv4Addr::new(10, 0, 0, 3),
    Ipv4Addr::new(10, 1, 0, 1),
    Ipv4Addr::new(10, 1, 0, 2),
    Ipv4Addr::new(10, 7, 0, 1),
    Ipv4Addr::new(10, 7, 0, 2),
];
/// Addresses that no device has, but that a local subnet of lo may make the host's.
const COVERED: [Ipv4Addr; 3] = [
    Ipv4Addr::new(10, 0, 0, 9),
    Ipv4Addr::new(10, 1, 0, 9),
    Ipv4Addr::new(10, 7, 0, 9),
];
/// Subnets to which there is at most a route by hand.
const ELSEWHERE: [Prefix; 2] = [
    Prefix::new(Ipv4Addr::new(10, 8, 0, 0), 16),
    Prefix::new(Ipv4Addr::new(10, 9, 0, 0), 16),
];
/// Neighbours, in the subnets of [`ADDRESSES`] or out of them by the length of the prefix.
const NEAR: [Ipv4Addr; 3] = [
    Ipv4Addr::new(10, 0, 0, 12),
    Ipv4Addr::new(10, 0, 250, 1),
    Ipv4Addr::new(10, 1, 250, 1),
];
/// The source of a packet that is forwarded.
const FOREIGN: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);

/// Whether an address asks, or is asked for, only once.
pub fn is_fresh(addr: Ipv4Addr) -> bool {
    !ADDRESSES.contains(&addr) && !COVERED.contains(&addr)
}

/// Makes steps. It does them to a host of its own, so that they fit.
pub struct Generator {
    rng: Rng,
    host: Host,
    /// What is done first, the last of it first.
    prologue: Vec<Operation>,
    /// How many fresh addresses there were in 10.0.0.0/24, of neighbours that are asked for and that ask.
    fresh: [u8; 2],
    /// How many there were elsewhere.
    far: u16,
}

impl Generator {
    /// The generator of a seed.
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

    /// The next step.
    pub fn step(&mut self) -> Step {
        let operation = loop {
            let prologue = self.prologue.pop();
            let operation = prologue.unwrap_or_else(|| self.operation());
            if self.host.can_try(&operation) {
                break operation;
            }
        };
        self.host.apply(&operation);
        let mut probes = vec![self.read(), self.read()];
        probes.extend((0..3).map(|_| self.connect()));
        let wires: Vec<Slot> = Slot::WIRES
            .into_iter()
            .filter(|wire| self.host.is_up(*wire))
            .collect();
        if !wires.is_empty() {
            probes.extend((0..4).map(|_| self.ask(&wires)));
            probes.extend((0..2).map(|_| self.resolve(&wires)));
        }
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

    /// A device that is there.
    fn device(&mut self) -> Slot {
        let slots: Vec<Slot> = self.host.slots().collect();
        self.any(&slots)
    }
}

// Operations.
impl Generator {
    /// A choice of what gives the rest something to work with: flags in force, a VRF with a member, routes
    /// whose sources are selected.
    fn prologue(&mut self) -> Vec<Operation> {
        let vrf = self.slot(is_vrf);
        let (member, other) = (self.any(&Slot::WIRES), self.any(&Slot::WIRES));
        let scope = self.any(&[Scope::Global, Scope::Link]);
        let mut operations = vec![
            Operation::AddRoute(member, ELSEWHERE[0], scope),
            Operation::AddRoute(other, ELSEWHERE[1], Scope::Link),
            Operation::Enslave(member, vrf),
            Operation::Up(vrf),
            Operation::Create(vrf),
            Operation::Write(Directory::All, Knob::ArpInvisible, 1),
            Operation::Write(Directory::All, Knob::Hidden, 1),
        ];
        operations.retain(|_| self.percent(75));
        operations
    }

    fn operation(&mut self) -> Operation {
        match self.rng.u32(..100) {
            0..34 => self.write(),
            34..55 => self.add_address(),
            55..65 => self.remove_address(),
            65..69 => Operation::Down(self.slot(is_any)),
            69..78 => Operation::Up(self.slot(is_any)),
            78..83 => Operation::Create(self.slot(is_virtual)),
            83..85 => Operation::Delete(self.slot(is_virtual)),
            85..89 => Operation::Enslave(self.slot(is_member), self.slot(is_vrf)),
            89..91 => Operation::Release(self.slot(is_member)),
            91..93 => Operation::Rename(self.slot(is_any)),
            93 => Operation::Shrink(self.slot(is_virtual)),
            94..96 => Operation::Widen(self.slot(is_virtual)),
            96..99 => {
                let (slot, dst) = (self.slot(is_member), self.any(&ELSEWHERE));
                Operation::AddRoute(slot, dst, self.any(&[Scope::Global, Scope::Link]))
            }
            _ => Operation::RemoveRoute(self.slot(is_member), self.any(&ELSEWHERE)),
        }
    }

    fn directory(&mut self) -> Directory {
        match self.rng.u32(..100) {
            0..20 => Directory::All,
            20..30 => Directory::Default,
            _ => Directory::Device(self.device()),
        }
    }

    fn knob(&mut self) -> Knob {
        match self.rng.u32(..100) {
            0..45 => Knob::Hidden,
            45..65 => Knob::ArpInvisible,
            65..73 => Knob::ArpIgnore,
            73..85 => Knob::ArpAnnounce,
            85..90 => Knob::ArpFilter,
            90..95 => Knob::RpFilter,
            _ => Knob::PromoteSecondaries,
        }
    }

    fn write(&mut self) -> Operation {
        let (directory, knob) = (self.directory(), self.knob());
        let values: &[i32] = match knob {
            // Among them what must be refused.
            Knob::Hidden => &[0, 0, 1, 1, 1, 2, 2, 2, 3, -1],
            Knob::ArpInvisible => &[0, 0, 1, 1, 1, 1, 2, -1],
            // The kernel's own decide little while they are 0, and hide what ours do while they are not.
            Knob::ArpIgnore => &[0, 0, 0, 0, 0, 1, 2, 3, 8],
            Knob::RpFilter => &[0, 0, 0, 0, 1, 2],
            Knob::ArpFilter => &[0, 0, 0, 1],
            Knob::ArpAnnounce => &[0, 0, 0, 1, 2],
            Knob::PromoteSecondaries => &[0, 1],
        };
        Operation::Write(directory, knob, self.any(values))
    }

    fn add_address(&mut self) -> Operation {
        let prefix = Prefix::new(
            self.any(&ADDRESSES),
            self.any(&[32, 32, 32, 28, 24, 24, 16]),
        );
        let scope = match self.rng.u32(..8) {
            0 => Scope::Link,
            1 => Scope::Host,
            _ => Scope::Global,
        };
        Operation::AddAddress(self.device(), prefix, scope)
    }

    fn remove_address(&mut self) -> Operation {
        let configured = self.configured();
        if configured.is_empty() {
            return self.add_address();
        }
        let (slot, prefix) = self.any(&configured);
        Operation::RemoveAddress(slot, prefix)
    }

    /// All but lo's 127.0.0.1.
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

// Probes.
impl Generator {
    /// An address that a device has, or another one.
    fn address(&mut self) -> Ipv4Addr {
        let configured = self.configured();
        match self.rng.u32(..100) {
            0..80 if !configured.is_empty() => self.any(&configured).1.addr,
            0..90 => self.any(&ADDRESSES),
            _ => self.any(&COVERED),
        }
    }

    /// An address that no device has and that has not been returned before. `is_asking`: of a neighbour that
    /// asks; those that are asked for must be others, for the host learns the first.
    fn fresh(&mut self, is_asking: bool) -> Ipv4Addr {
        let near = &mut self.fresh[usize::from(is_asking)];
        if *near < 110 && self.rng.bool() {
            *near += 1;
            return Ipv4Addr::new(10, 0, 0, if is_asking { 16 } else { 127 } + *near);
        }
        let subnet = self.any(&[0, 1, 9]);
        let far = &mut self.far;
        *far += 1;
        Ipv4Addr::new(10, subnet, 1 + (*far / 200) as u8, 1 + (*far % 200) as u8)
    }

    fn ask(&mut self, wires: &[Slot]) -> Probe {
        let sip = match self.rng.u32(..100) {
            0..20 => None,
            20..30 => Some(self.address()),
            _ => Some(self.fresh(true)),
        };
        let cast = match self.rng.u32(..100) {
            0..50 => Cast::Broadcast,
            50..65 => Cast::Multicast,
            _ => Cast::Unicast,
        };
        let on = self.any(wires);
        if self.percent(5) {
            // Gratuitous; of an address that a device has, the kernel takes none.
            let tip = self.any(&COVERED);
            let sip = Some(tip);
            return Probe::Ask { on, tip, sip, cast };
        }
        let tip = self.address();
        Probe::Ask { on, tip, sip, cast }
    }

    fn resolve(&mut self, wires: &[Slot]) -> Probe {
        let from = if self.percent(85) {
            self.address()
        } else {
            FOREIGN
        };
        let (out, target) = (self.any(wires), self.fresh(false));
        Probe::Resolve { out, target, from }
    }

    fn connect(&mut self) -> Probe {
        let to = match self.rng.u32(..100) {
            0..60 => {
                let [_, subnet, ..] = self.any(&ELSEWHERE).addr.octets();
                Ipv4Addr::new(10, subnet, 0, 1)
            }
            60..75 => self.address(),
            _ => self.any(&NEAR),
        };
        let out = match self.rng.u32(..100) {
            0..45 => None,
            45..85 => Some(self.any(&Slot::WIRES)),
            _ => Some(self.slot(is_vrf)),
        };
        Probe::Connect { to, out }
    }

    fn read(&mut self) -> Probe {
        Probe::Read(self.directory(), self.knob())
    }
}

fn is_any(_: Kind) -> bool {
    true
}

fn is_virtual(kind: Kind) -> bool {
    matches!(kind, Kind::Dummy | Kind::Vrf(_))
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
    use crate::Seen;

    #[test]
    fn a_seed_says_all() {
        let of = |seed| format!("{:?}", Generator::new(seed).step());
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    /// A comparison shows little if the module never makes a difference.
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
                        Probe::Read(..) => (3, Seen::Value(None)),
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
