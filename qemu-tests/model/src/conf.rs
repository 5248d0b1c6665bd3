// SPDX-License-Identifier: GPL-2.0

//! The values of the knobs: `struct ipv4_devconf`.

use crate::operation::Knob;

/// The values of a directory.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Conf {
    values: [i32; Knob::ALL.len()],
    /// `cnf.state`: writes to `default` do not reach these knobs any more.
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

    /// `ipv4_devconf_setall`: called when the device gets an address, or when a loopback device is set up.
    pub(crate) fn set_all(&mut self) {
        self.is_set = [true; Knob::ALL.len()];
    }

    /// `devinet_copy_dflt_conf`, for one knob of one device.
    pub(crate) fn copy_default(&mut self, knob: Knob, default: &Conf) {
        if knob.is_tracked() && !self.is_set[knob as usize] {
            self.values[knob as usize] = default.get(knob);
        }
    }
}

impl Knob {
    /// Whether a write of this value is accepted. The kernel does not check its own knobs.
    pub(crate) fn is_valid(self, value: i32) -> bool {
        match self {
            Knob::Hidden => (0..=2).contains(&value),
            Knob::ArpInvisible => (0..=1).contains(&value),
            _ => true,
        }
    }

    /// Whether the kernel records writes and copies `default` to devices. It does neither for promote_secondaries.
    fn is_tracked(self) -> bool {
        self != Knob::PromoteSecondaries
    }
}
