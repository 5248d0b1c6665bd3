// SPDX-License-Identifier: GPL-2.0

//! Which operations are possible, and their commands.

use crate::{
    host::Host,
    operation::{Directory, Kind, Knob, Operation, Slot},
    prefix::Scope,
};

/// The command for an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// The arguments of `ip`.
    Ip(String),
    /// A file below /proc/sys, and the value to write.
    Sysctl(String, i32),
    /// Creates the second namespace.
    MakeAnnex {
        /// Whether it starts with the host's `all` and `default` (net.core.devconf_inherit_init_net).
        inherits: bool,
    },
    /// A command in the second namespace.
    InAnnex(Box<Command>),
}

impl Host {
    /// The name of the host's namespace.
    pub const NAME: &'static str = "host";
    /// The name of the second namespace.
    pub const ANNEX: &'static str = "annex";

    /// Whether an operation makes sense: its devices exist, and it would either change something or be refused.
    pub fn can_try(&self, operation: &Operation) -> bool {
        let is_virtual = |slot: Slot| matches!(slot.kind(), Kind::Dummy | Kind::Vrf(_));
        match *operation {
            Operation::Write(directory, ..) => self.has_directory(directory),
            Operation::AddAddress(slot, ..)
            | Operation::RemoveAddress(slot, ..)
            | Operation::RemoveRoute(slot, ..) => self.exists(slot),
            Operation::Up(slot) => self.exists(slot) && !self.is_up(slot),
            Operation::Down(slot) => self.is_up(slot),
            Operation::Create(slot) => {
                is_virtual(slot) && !self.exists(slot) && !self.is_in_annex(slot)
            }
            Operation::Delete(slot) => is_virtual(slot) && self.exists(slot),
            Operation::Enslave(slot, vrf) => {
                let is_member = matches!(slot.kind(), Kind::Wire | Kind::Dummy);
                let exist = self.exists(slot) && self.exists(vrf);
                is_member && exist && vrf.vrf_table().is_some() && self.master(slot) != Some(vrf)
            }
            Operation::Release(slot) => self.master(slot).is_some(),
            Operation::Rename(slot) => slot != Slot::LO && self.exists(slot),
            Operation::Shrink(slot) => slot.kind() == Kind::Dummy && self.ip(slot).is_some(),
            Operation::Widen(slot) => self.exists(slot) && self.ip(slot).is_none(),
            Operation::AddRoute(slot, ..) => {
                self.exists(slot) && matches!(slot.kind(), Kind::Wire | Kind::Dummy)
            }
            Operation::AddLocalRule(place) => !self.fib.has_local_rule(place),
            // One of the two must stay.
            Operation::RemoveLocalRule(place) => {
                self.fib.has_local_rule(place) && self.fib.has_local_rule(place.other())
            }
            Operation::MakeAnnex { .. } => self.annex().is_none(),
            Operation::Move(slot) => {
                let can_go = self.ip(slot).is_some() && self.master(slot).is_none();
                let can_come = self.is_in_annex(slot);
                slot.kind() == Kind::Dummy && self.annex().is_some() && (can_go || can_come)
            }
            Operation::WriteInAnnex(directory, ..) => self
                .annex()
                .is_some_and(|annex| annex.has_directory(directory)),
            Operation::AddAddressInAnnex(slot, ..) => self.is_in_annex(slot),
        }
    }

    /// Whether the directory's device exists.
    pub(crate) fn has_directory(&self, directory: Directory) -> bool {
        match directory {
            Directory::All | Directory::Default => true,
            Directory::Device(slot) => self.exists(slot),
        }
    }

    /// Returns the file of a knob, below /proc/sys.
    pub fn file(&self, directory: Directory, knob: Knob) -> String {
        let directory = match directory {
            Directory::All => "all",
            Directory::Default => "default",
            Directory::Device(slot) => self.name(slot),
        };
        format!("net/ipv4/conf/{directory}/{}", knob.name())
    }

    /// Returns the command for an operation in the current state.
    pub fn command(&self, operation: &Operation) -> Command {
        let dev = |slot: Slot| self.name(slot);
        Command::Ip(match *operation {
            Operation::Write(directory, knob, value) => {
                return Command::Sysctl(self.file(directory, knob), value)
            }
            Operation::AddAddress(slot, prefix, scope) => {
                format!("addr add {prefix} dev {} scope {scope}", dev(slot))
            }
            Operation::RemoveAddress(slot, prefix) => {
                format!("addr del {prefix} dev {}", dev(slot))
            }
            Operation::Up(slot) => format!("link set {} up", dev(slot)),
            Operation::Down(slot) => format!("link set {} down", dev(slot)),
            Operation::Create(slot) => {
                let name = slot.name(false);
                match slot.vrf_table() {
                    Some(table) => format!("link add {name} type vrf table {table}"),
                    None => format!("link add {name} type dummy"),
                }
            }
            Operation::Delete(slot) => format!("link del {}", dev(slot)),
            Operation::Enslave(slot, vrf) => format!("link set {} master {}", dev(slot), dev(vrf)),
            Operation::Release(slot) => format!("link set {} nomaster", dev(slot)),
            Operation::Rename(slot) => {
                let other = slot.name(!self.is_renamed(slot));
                format!("link set {} name {other}", dev(slot))
            }
            Operation::Shrink(slot) => format!("link set {} mtu 67", dev(slot)),
            Operation::Widen(slot) => format!("link set {} mtu 1500", dev(slot)),
            Operation::AddRoute(slot, dst, scope) => {
                let table = self.main_table(slot);
                format!(
                    "route add {dst} dev {} scope {scope} table {table}",
                    dev(slot)
                )
            }
            Operation::RemoveRoute(slot, dst) => {
                let table = self.main_table(slot);
                format!("route del {dst} dev {} table {table}", dev(slot))
            }
            Operation::AddLocalRule(place) => {
                format!("rule add pref {} table local", place.preference())
            }
            Operation::RemoveLocalRule(place) => {
                format!("rule del pref {} table local", place.preference())
            }
            Operation::MakeAnnex { inherits } => return Command::MakeAnnex { inherits },
            Operation::Move(slot) if self.exists(slot) => {
                format!("link set {} netns {}", dev(slot), Self::ANNEX)
            }
            Operation::Move(slot) => {
                let name = self.annex().map_or("", |annex| annex.name(slot));
                let back = format!("link set {name} netns {}", Self::NAME);
                return Command::InAnnex(Box::new(Command::Ip(back)));
            }
            Operation::WriteInAnnex(directory, knob, value) => {
                return self.in_annex(&Operation::Write(directory, knob, value))
            }
            Operation::AddAddressInAnnex(slot, prefix) => {
                return self.in_annex(&Operation::AddAddress(slot, prefix, Scope::Global))
            }
        })
    }

    fn in_annex(&self, operation: &Operation) -> Command {
        let there = self.annex().unwrap_or(self);
        Command::InAnnex(Box::new(there.command(operation)))
    }
}
