// SPDX-License-Identifier: GPL-2.0

//! The values of the knobs: `struct ipv4_devconf`.

use crate::operation::Knob;

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

    pub(crate) fn set(&mut self, knob: Knob, value: i32) {
        self.values[knob as usize] = value;
        self.is_set[knob as usize] |= knob.is_tracked();
    }

    /// `ipv4_devconf_setall`: a user gave the device an address, or it is a loopback device that came up.
    pub(crate) fn set_all(&mut self) {
        self.is_set = [true; Knob::ALL.len()];
    }

    /// `devinet_copy_dflt_conf`, of one knob for one device.
    pub(crate) fn copy_default(&mut self, knob: Knob, default: &Conf) {
        if knob.is_tracked() && !self.is_set[knob as usize] {
            self.values[knob as usize] = default.get(knob);
        }
    }
}

impl Knob {
    /// The values that a write may carry; what is out of it is refused. The kernel does not check its own.
    pub(crate) fn is_valid(self, value: i32) -> bool {
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
