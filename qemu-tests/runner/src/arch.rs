// SPDX-License-Identifier: GPL-2.0

//! The processors that kernels are for: what QEMU and the machines' root must know about them.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::LazyLock, //
};

/// A processor, by Debian's name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arch {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Arch {
    /// The one that this program runs on.
    pub(crate) const OWN: Self = if cfg!(target_arch = "aarch64") {
        Self::Arm64
    } else {
        Self::Amd64
    };

    /// That of a kernel's release.
    pub(crate) fn of(release: &str) -> Self {
        if release.ends_with("-arm64") {
            Self::Arm64
        } else {
            Self::Amd64
        }
    }

    /// The program that emulates it.
    pub(crate) fn qemu(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-system-x86_64",
            Self::Arm64 => "qemu-system-aarch64",
        }
    }

    /// The machine around it.
    pub(crate) fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "q35",
            Self::Arm64 => "virt",
        }
    }

    /// The model of processor to emulate.
    pub(crate) fn emulated(self) -> &'static str {
        match self {
            // Four levels of page tables: with five, KASAN finds fault with the emulated machine's first interrupts.
            Self::Amd64 => "max,la57=off",
            // The architecture's own algorithm for pointer authentication takes most of the time.
            Self::Arm64 => "max,pauth-impdef=on",
        }
    }

    /// The kernel's name of the first serial port.
    pub(crate) fn console(self) -> &'static str {
        match self {
            Self::Amd64 => "ttyS0",
            Self::Arm64 => "ttyAMA0",
        }
    }

    /// Rust's name of it: the target that the guest is compiled for.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// Debian's name of the folder of its libraries.
    pub(crate) fn multiarch(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu",
            Self::Arm64 => "aarch64-linux-gnu",
        }
    }

    /// Whether programs for it run here.
    pub(crate) fn is_own(self) -> bool {
        self == Self::OWN
    }

    /// How many processors a machine has that the cases run on. Arm's order memory weakly: more of them show more.
    pub(crate) fn test_cpus(self) -> u32 {
        match self {
            Self::Amd64 => 2,
            Self::Arm64 => 4,
        }
    }

    /// How virtual machines run: on the processor itself where that works.
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

/// Whether KVM does. That /dev/kvm is there says little in a machine that is virtual itself, so one is started, but
/// not let run.
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
