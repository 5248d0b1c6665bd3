// SPDX-License-Identifier: GPL-2.0

//! The knobs: `struct ipv4_devconf` and `devinet_conf_proc` of net/ipv4/devinet.c.

use crate::{Directory, Host, Knob, Outcome};

/// The values in one directory.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Conf {
    values: [i32; Knob::ALL.len()],
    /// `cnf.state`: a write to `default` no longer reaches these.
    is_set: [bool; Knob::ALL.len()],
}

impl Conf {
    pub(crate) fn get(&self, knob: Knob) -> i32 {
        self.values[knob as usize]
    }

    fn set(&mut self, knob: Knob, value: i32) {
        self.values[knob as usize] = value;
        self.is_set[knob as usize] |= knob.is_tracked();
    }

    /// `ipv4_devconf_setall`: a user gave the device an address, or it is a loopback device that came up.
    pub(crate) fn set_all(&mut self) {
        self.is_set = [true; Knob::ALL.len()];
    }

    /// `devinet_copy_dflt_conf`, of one knob for one device.
    fn copy_default(&mut self, knob: Knob, default: &Conf) {
        if knob.is_tracked() && !self.is_set[knob as usize] {
            self.values[knob as usize] = default.get(knob);
        }
    }
}

impl Knob {
    /// The values that a write may carry; what is out of it is refused. The kernel does not check its own.
    fn is_valid(self, value: i32) -> bool {
        match self {
            Knob::Hidden => (0..=2).contains(&value),
            Knob::ArpInvisible => (0..=1).contains(&value),
            _ => true,
        }
    }

    /// The kernel neither records writes of this one nor hands `default` on.
    fn is_tracked(self) -> bool {
        self != Knob::PromoteSecondaries
    }
}

impl Host {
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

    /// The value that a file shows; `None` where there is no file.
    pub(crate) fn read(&self, directory: Directory, knob: Knob) -> Option<i32> {
        match directory {
            Directory::All => Some(self.all.get(knob)),
            Directory::Default => Some(self.default.get(knob)),
            Directory::Device(slot) => Some(self.ip(slot)?.conf.get(knob)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::*, Operation, Slot};

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
