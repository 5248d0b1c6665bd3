// SPDX-License-Identifier: GPL-2.0

//! The machines of the cases. To reboot, rs1 shuts down and starts again from the kernel and initramfs that its /vmlinuz and
//! /initrd.img point to, as a boot loader would.

use super::{
    disk::{plug_archive, Disk, Shared, SAVE_BOOT_FILES},
    lan::{Lan, Seen, VIP},
};
use crate::{
    arch::Arch,
    lab::{Lab, System},
    traffic::mac,
    vm::{Boot, Config, Vm}, //
};
use anyhow::{ensure, Context, Result};
use protocol::frame::Colons;
use std::{fs, time::Duration};

/// How long one command may take: DKMS builds on an emulated processor.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The disks, the network, and what has been done so far.
pub(super) struct Site<'a> {
    lab: &'a Lab,
    system: &'a System,
    shared: Shared,
    /// The first kernel of rs1.
    pub(super) older: String,
    /// The kernel that rs1 is upgraded to.
    pub(super) newer: String,
    /// The network.
    pub(super) lan: Lan,
    /// The disk with the packages installed and configured, once a case has made it.
    pub(super) installed: Option<Disk>,
    /// The commands so far, for the report of a failure.
    done: String,
}

impl<'a> Site<'a> {
    /// Creates what all cases share.
    pub(super) fn new(lab: &'a Lab, system: &'a System) -> Result<Self> {
        let packages = [(&*system.packages, "packages"), (&*system.later, "later")];
        let release = |which| -> Result<String> {
            let text = fs::read_to_string(system.system.join(which))?;
            Ok(text.trim().to_owned())
        };
        Ok(Self {
            lab,
            system,
            shared: Shared::new(&lab.logs, &packages, &system.first_module)?,
            older: release("older")?,
            newer: release("newer")?,
            lan: Lan::new()?,
            installed: None,
            done: String::new(),
        })
    }

    /// Starts a case.
    pub(super) fn begin(&mut self) {
        self.lan.record();
        self.done.clear();
    }

    /// Creates a disk with the system alone.
    pub(super) fn fresh(&self, name: &str) -> Result<Disk> {
        Disk::pristine(&self.system.system).branch(&self.lab.logs, name)
    }

    /// Creates a copy of [`Self::installed`].
    pub(super) fn with_packages(&self, name: &str) -> Result<Disk> {
        let disk = self.installed.as_ref().context("nothing is installed")?;
        disk.branch(&self.lab.logs, name)
    }

    /// Boots rs1 and waits until systemd is done. Fails if a unit has failed.
    pub(super) fn boot(&mut self, disk: &Disk) -> Result<Vm> {
        self.done += "rs1 boots\n";
        let [binary, initramfs] = disk.boot_files();
        let mut devices = self.lan.rs1.card(mac(0));
        devices.extend(disk.plug());
        devices.extend(self.shared.plug());
        devices.extend(plug_archive(&self.system.system));
        let mut rs1 = Vm::start(&Config {
            name: "install-rs1",
            boot: Boot::Kernel {
                arch: Arch::Amd64,
                binary: &binary,
                initramfs: &initramfs,
                options: "root=LABEL=system",
            },
            logs: &self.lab.logs,
            cpus: 2,
            memory: 3072,
            devices,
            count_instructions: false,
            can_be_put_back: false,
        })?;
        rs1.ready()?;
        rs1.be_patient(PATIENCE);
        let script = "until state=$(systemctl is-system-running); [ \"$state\" != starting ]; do sleep 0.2; done; \
                      echo $state; systemctl --failed --no-legend; [ $state = running ]";
        self.shell(&mut rs1, script)?;
        Ok(rs1)
    }

    /// As [`Self::boot`]. Fails if rs1 claims the VIP.
    pub(super) fn boot_silently(&mut self, disk: &Disk) -> Result<(Vm, Seen)> {
        let from = self.lan.now();
        let rs1 = self.boot(disk)?;
        Ok((rs1, self.lan.silent(from)?))
    }

    /// Shuts rs1 down. Fails if its kernel has complained.
    pub(super) fn shut_down(&mut self, mut rs1: Vm, disk: &Disk) -> Result<()> {
        // update-initramfs may have made a new initramfs.
        self.shell(&mut rs1, SAVE_BOOT_FILES)?;
        self.done += "rs1 shuts down\n";
        let complaints = rs1.finish()?;
        disk.take_boot_files(&self.shared)?;
        ensure!(
            complaints.is_empty(),
            "the kernel complained:\n{}",
            complaints.join("\n")
        );
        Ok(())
    }

    /// Boots the client and makes it exchange lines on a connection to the VIP. Its neighbour table has rs1's hardware address
    /// for the VIP, in place of a director that forwards.
    pub(super) fn client(&mut self) -> Result<Vm> {
        let mut client = Vm::start(&Config {
            name: "install-client",
            boot: self.lab.boot(),
            logs: &self.lab.logs,
            cpus: 1,
            memory: 256,
            devices: self.lan.client.card(mac(2)),
            count_instructions: false,
            can_be_put_back: false,
        })?;
        client.ready()?;
        let script = format!(
            "set -e
             modprobe virtio_net
             ip addr add 10.0.0.2/24 dev eth0
             ip link set eth0 up
             ip neigh add {VIP} lladdr {} nud permanent dev eth0
             (n=0; while :; do n=$((n + 1)); echo $n; usleep 50000; done | nc {VIP} 7 >/run/echoed) \
                 </dev/null >/dev/null 2>&1 &",
            Colons(mac(0))
        );
        self.shell(&mut client, &script)?;
        Ok(client)
    }

    /// Runs a command line that must succeed. Returns its output.
    pub(super) fn shell(&mut self, vm: &mut Vm, command: &str) -> Result<String> {
        self.done += &format!("# {command}\n");
        vm.shell(command)
    }

    /// Describes the case for the report of a failure.
    pub(super) fn tell(&self) -> String {
        let console = fs::read(self.lab.logs.join("install-rs1.console")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<&str> = console.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        format!(
            "--- what was done\n{}{}--- the end of rs1's console\n{tail}",
            self.done,
            self.lan.tell()
        )
    }
}
