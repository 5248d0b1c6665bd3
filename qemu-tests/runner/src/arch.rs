// SPDX-License-Identifier: GPL-2.0

//! The architectures of kernels, as far as QEMU and the machines' root depend on them.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::LazyLock, //
};

/// An architecture, by Debian's name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arch {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Arch {
    /// The architecture that this program runs on.
    pub(crate) const OWN: Self = if cfg!(target_arch = "aarch64") {
        Self::Arm64
    } else {
        Self::Amd64
    };

    /// Returns the architecture of a kernel's release.
    pub(crate) fn of(release: &str) -> Self {
        if release.ends_with("-arm64") {
            Self::Arm64
        } else {
            Self::Amd64
        }
    }

    /// Returns the program that emulates it.
    pub(crate) fn qemu(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-system-x86_64",
            Self::Arm64 => "qemu-system-aarch64",
        }
    }

    /// Returns the type of machine to emulate.
    pub(crate) fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "q35",
            Self::Arm64 => "virt",
        }
    }

    /// Returns the model of processor to emulate.
    pub(crate) fn emulated(self) -> &'static str {
        match self {
            // Four levels of page tables: with five, KASAN reports the emulated machine's first interrupts.
            Self::Amd64 => "max,la57=off",
            // Emulating the architecture's own algorithm for pointer authentication takes most of the time.
            Self::Arm64 => "max,pauth-impdef=on",
        }
    }

    /// Returns the kernel's name for the first serial port.
    pub(crate) fn console(self) -> &'static str {
        match self {
            Self::Amd64 => "ttyS0",
            Self::Arm64 => "ttyAMA0",
        }
    }

    /// Returns Rust's target, for which the guest is compiled.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// Returns the name of its folder of libraries in Debian.
    pub(crate) fn multiarch(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu",
            Self::Arm64 => "aarch64-linux-gnu",
        }
    }

    /// Whether programs for it run on this machine.
    pub(crate) fn is_own(self) -> bool {
        self == Self::OWN
    }

    /// Returns the number of processors of a machine for the cases. Arm's memory ordering is weak, and more processors show
    /// more of it.
    pub(crate) fn test_cpus(self) -> u32 {
        match self {
            Self::Amd64 => 2,
            Self::Arm64 => 4,
        }
    }

    /// Returns how virtual machines run: by KVM if that works.
    pub(crate) fn accelerator(self) -> &'static str {
        static CHOICE: LazyLock<&'static str> =
            LazyLock::new(|| if kvm_works() { "kvm" } else { "tcg" });
        if self.is_own() {
            *CHOICE
        } else {
            "tcg"
        }
    }
}

/// Whether KVM works. In a virtual machine /dev/kvm alone proves nothing, so this starts a machine, without running it.
fn kvm_works() -> bool {
    Command::new(Arch::OWN.qemu())
        .args(["-machine", &format!("{},accel=kvm", Arch::OWN.machine())])
        .args(["-cpu", "host", "-S"])
        .args(["-nodefaults", "-display", "none", "-monitor", "stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .and_then(|mut qemu| {
            if let Some(mut monitor) = qemu.stdin.take() {
                drop(monitor.write_all(b"quit\n"));
            }
            qemu.wait()
        })
        .is_ok_and(|status| status.success())
}
