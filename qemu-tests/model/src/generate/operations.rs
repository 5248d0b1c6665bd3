// SPDX-License-Identifier: GPL-2.0

//! Random operations.

use super::{is_any, is_dummy, is_member, is_virtual, is_vrf, Generator, Of};
use crate::{
    operation::{Directory, Knob, Operation, Place, Slot},
    pool::{ADDRESSES, ELSEWHERE},
    prefix::{Prefix, Scope},
};

impl Generator {
    /// Returns some operations that make the rest interesting: flags in force, a VRF with a member, a prefix on lo, routes
    /// whose sources are selected, a second namespace. The last one is carried out first.
    pub(super) fn prologue(&mut self) -> Vec<Operation> {
        let vrf = self.slot(is_vrf);
        let (member, other) = (self.any(&Slot::WIRES), self.any(&Slot::WIRES));
        let scope = self.any(&[Scope::Global, Scope::Link]);
        let prefix = Prefix::new(self.any(&ADDRESSES), 28);
        let inherits = self.rng.bool();
        let mut operations = vec![
            (75, Operation::AddRoute(member, ELSEWHERE[0], scope)),
            (75, Operation::AddRoute(other, ELSEWHERE[1], Scope::Link)),
            (50, Operation::MakeAnnex { inherits }),
            (25, Operation::Write(Directory::Default, Knob::Hidden, 1)),
            (25, Operation::AddAddress(Slot::LO, prefix, Scope::Global)),
            (75, Operation::Enslave(member, vrf)),
            (75, Operation::Up(vrf)),
            (75, Operation::Create(vrf)),
            (25, Operation::RemoveLocalRule(Place::Before)),
            (40, Operation::AddLocalRule(Place::Behind)),
            (33, Operation::Write(Directory::All, Knob::AcceptLocal, 1)),
            (75, Operation::Write(Directory::All, Knob::ArpInvisible, 1)),
            (75, Operation::Write(Directory::All, Knob::Hidden, 1)),
        ];
        operations.retain(|(percent, _)| self.percent(*percent));
        operations
            .into_iter()
            .map(|(_, operation)| operation)
            .collect()
    }

    pub(super) fn operation(&mut self) -> Operation {
        match self.rng.u32(..100) {
            0..32 => {
                let (directory, knob, value) = self.write(Of::Host);
                Operation::Write(directory, knob, value)
            }
            32..52 => self.add_address(),
            52..61 => self.remove_address(),
            61..65 => Operation::Down(self.slot(is_any)),
            65..73 => Operation::Up(self.slot(is_any)),
            73..78 => Operation::Create(self.slot(is_virtual)),
            78..80 => Operation::Delete(self.slot(is_virtual)),
            80..84 => Operation::Enslave(self.slot(is_member), self.slot(is_vrf)),
            84..86 => Operation::Release(self.slot(is_member)),
            86..88 => Operation::Rename(self.slot(is_any)),
            88 => Operation::Shrink(self.slot(is_dummy)),
            89..91 => Operation::Widen(self.slot(is_dummy)),
            91..93 => {
                let (slot, dst) = (self.slot(is_member), self.any(&ELSEWHERE));
                Operation::AddRoute(slot, dst, self.any(&[Scope::Global, Scope::Link]))
            }
            93 => Operation::RemoveRoute(self.slot(is_member), self.any(&ELSEWHERE)),
            94 => Operation::AddLocalRule(self.any(&[Place::Before, Place::Behind])),
            95 => Operation::RemoveLocalRule(self.any(&[Place::Before, Place::Behind])),
            _ => self.operation_of_annex(),
        }
    }

    fn operation_of_annex(&mut self) -> Operation {
        if self.host.annex().is_none() {
            let inherits = self.rng.bool();
            return Operation::MakeAnnex { inherits };
        }
        match self.rng.u32(..100) {
            0..50 => Operation::Move(self.slot(is_dummy)),
            50..90 => {
                let (directory, knob, value) = self.write(Of::Annex);
                Operation::WriteInAnnex(directory, knob, value)
            }
            _ => {
                let prefix = Prefix::new(self.any(&ADDRESSES), 32);
                Operation::AddAddressInAnnex(self.device(Of::Annex), prefix)
            }
        }
    }

    fn write(&mut self, of: Of) -> (Directory, Knob, i32) {
        let (directory, knob) = (self.directory(of), self.knob());
        let values: &[i32] = match knob {
            // Some of these must be refused.
            Knob::Hidden => &[0, 0, 1, 1, 1, 2, 2, 2, 3, -1],
            Knob::ArpInvisible => &[0, 0, 1, 1, 1, 1, 2, -1],
            // While the kernel's own knobs are not 0, they often mask the effect of ours.
            Knob::ArpIgnore => &[0, 0, 0, 0, 0, 1, 2, 3, 8],
            Knob::AcceptLocal => &[0, 0, 1],
            Knob::RpFilter => &[0, 0, 0, 0, 1, 2],
            Knob::ArpFilter => &[0, 0, 0, 1],
            Knob::ArpAnnounce => &[0, 0, 0, 1, 2],
            Knob::PromoteSecondaries => &[0, 1],
        };
        (directory, knob, self.any(values))
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
        Operation::AddAddress(self.device(Of::Host), prefix, scope)
    }

    fn remove_address(&mut self) -> Operation {
        let configured = self.configured();
        if configured.is_empty() {
            return self.add_address();
        }
        let (slot, prefix) = self.any(&configured);
        Operation::RemoveAddress(slot, prefix)
    }
}
