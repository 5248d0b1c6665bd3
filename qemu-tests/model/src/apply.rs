// SPDX-License-Identifier: GPL-2.0

//! Carries out operations.

use crate::{
    fib::{Route, Type},
    host::Host,
    operation::{Directory, Knob, Operation, Outcome, Slot},
    prefix::{Prefix, Scope},
};

impl Host {
    /// Carries out an operation for which [`Host::can_try`] is true.
    pub fn apply(&mut self, operation: &Operation) -> Outcome {
        match *operation {
            Operation::Write(directory, knob, value) => return self.write(directory, knob, value),
            Operation::AddAddress(slot, prefix, scope) => {
                return self.insert_address(slot, prefix, scope)
            }
            Operation::RemoveAddress(slot, prefix) => return self.remove_address(slot, prefix),
            Operation::Up(slot) => self.up(slot),
            Operation::Down(slot) => self.down(slot),
            Operation::Create(slot) => self.create(slot),
            Operation::Delete(slot) => self.unregister(slot),
            Operation::Enslave(slot, vrf) => {
                if self.master(slot).is_some() {
                    self.release(slot);
                }
                self.links.push((vrf, slot));
                self.moved(slot);
            }
            Operation::Release(slot) => self.release(slot),
            Operation::Rename(slot) => {
                if let Some(device) = self.device_mut(slot) {
                    device.renamed = !device.renamed;
                }
            }
            Operation::Shrink(slot) => self.destroy_ip(slot),
            Operation::Widen(slot) => {
                let ip = self.new_in_device();
                if let Some(device) = self.device_mut(slot) {
                    device.ip = Some(ip);
                }
            }
            Operation::AddRoute(slot, dst, scope) => return self.add_route(slot, dst, scope),
            Operation::RemoveRoute(slot, dst) => {
                let table = self.main_table(slot);
                if !self.fib.remove_by_hand(table, dst, slot) {
                    return Outcome::Refused;
                }
            }
            Operation::AddLocalRule(place) => self.fib.add_local_rule(place),
            Operation::RemoveLocalRule(place) => self.fib.remove_local_rule(place),
            Operation::MakeAnnex { inherits } => {
                let (all, default) = if inherits {
                    (self.all, self.default)
                } else {
                    Default::default()
                };
                self.annex = Some(Box::new(Self::namespace(all, default)));
            }
            Operation::Move(slot) => {
                let Some(mut annex) = self.annex.take() else {
                    return Outcome::Refused;
                };
                if annex.exists(slot) {
                    annex.hand_over(slot, self);
                } else {
                    self.hand_over(slot, &mut annex);
                }
                self.annex = Some(annex);
            }
            Operation::WriteInAnnex(directory, knob, value) => match &mut self.annex {
                Some(annex) => return annex.write(directory, knob, value),
                None => return Outcome::Refused,
            },
            Operation::AddAddressInAnnex(slot, prefix) => match &mut self.annex {
                Some(annex) => return annex.insert_address(slot, prefix, Scope::Global),
                None => return Outcome::Refused,
            },
        }
        Outcome::Done
    }

    fn add_route(&mut self, slot: Slot, dst: Prefix, scope: Scope) -> Outcome {
        let table = self.main_table(slot);
        if !self.is_up(slot) || self.ip(slot).is_none() || self.fib.has(table, dst) {
            return Outcome::Refused;
        }
        self.fib.append(Route {
            table,
            dst,
            kind: Type::Unicast,
            scope,
            prefsrc: None,
            dev: slot,
        });
        Outcome::Done
    }

    /// `devinet_conf_proc`.
    pub(crate) fn write(&mut self, directory: Directory, knob: Knob, value: i32) -> Outcome {
        if !knob.is_valid(value) {
            return Outcome::Refused;
        }
        match directory {
            Directory::All => self.all.set(knob, value),
            Directory::Default => {
                self.default.set(knob, value);
                let default = self.default;
                for ip in self.ips_mut() {
                    ip.conf.copy_default(knob, &default);
                }
            }
            Directory::Device(slot) => match self.ip_mut(slot) {
                Some(ip) => ip.conf.set(knob, value),
                None => return Outcome::Refused,
            },
        }
        Outcome::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    fn default(knob: Knob, value: i32) -> Operation {
        Operation::Write(Directory::Default, knob, value)
    }

    #[test]
    fn row_23_default_reaches_what_nobody_set() {
        for knob in [Knob::Hidden, Knob::ArpInvisible, Knob::ArpIgnore] {
            let mut host = Host::default();
            done(&mut host, &[add(ETH0, 1, 24), default(knob, 1)]);
            assert_eq!(host.conf(ETH0, knob), 0, "given an address");
            assert_eq!(host.conf(Slot::LO, knob), 0, "lo is up");
            assert_eq!(host.conf(ETH1, knob), 1);
            done(&mut host, &[write(ETH1, knob, 0), default(knob, 1)]);
            assert_eq!(host.conf(ETH1, knob), 0, "written by hand");
            let vip0 = slot("vip0");
            done(&mut host, &[Operation::Create(vip0), default(knob, 0)]);
            assert_eq!(host.conf(vip0, knob), 1, "created after the write");
        }
    }

    #[test]
    fn a_value_out_of_range_is_refused_and_does_not_count_as_a_write() {
        let mut host = Host::default();
        for (knob, value) in [
            (Knob::Hidden, 3),
            (Knob::ArpInvisible, 2),
            (Knob::Hidden, -1),
        ] {
            assert_eq!(host.apply(&write(ETH0, knob, value)), Outcome::Refused);
            assert_eq!(host.apply(&default(knob, value)), Outcome::Refused);
            done(&mut host, &[default(knob, 1)]);
            assert_eq!(host.conf(ETH0, knob), 1);
        }
    }
}
