// SPDX-License-Identifier: GPL-2.0

//! How a machine finds its kernel.

use crate::arch::Arch;
use std::path::Path;

/// How a machine comes to its kernel.
pub(crate) enum Boot<'a> {
    /// QEMU loads it.
    Kernel {
        /// The processor that it is for.
        arch: Arch,
        /// The kernel's binary.
        binary: &'a Path,
        /// Its root, or what finds that.
        initramfs: &'a Path,
        /// Where on its command line PID 1 is, and what else it shall know.
        options: &'a str,
    },
    /// UEFI firmware with Secure Boot loads what it finds in the system partition, if it trusts that.
    SecureBoot {
        /// The firmware's variables: its keys among them.
        variables: &'a Path,
        /// The folder with the contents of the partition.
        partition: &'a Path,
    },
}

impl Boot<'_> {
    pub(super) fn arch(&self) -> Arch {
        match self {
            Boot::Kernel { arch, .. } => *arch,
            Boot::SecureBoot { .. } => Arch::Amd64,
        }
    }

    pub(super) fn arguments(&self) -> Vec<String> {
        match self {
            Boot::Kernel {
                arch,
                binary,
                initramfs,
                options,
            } => vec![
                "-kernel".to_owned(),
                binary.display().to_string(),
                "-initrd".to_owned(),
                initramfs.display().to_string(),
                "-append".to_owned(),
                format!("{} {options}", command_line(*arch)),
            ],
            // The variables can be written in system management mode only: that is what makes it secure.
            Boot::SecureBoot {
                variables,
                partition,
            } => [
                "-machine smm=on",
                "-global driver=cfi.pflash01,property=secure,value=on",
                "-global ICH9-LPC.disable_s3=1",
                "-drive if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.ms.fd",
            ]
            .iter()
            .flat_map(|argument| argument.split(' '))
            .map(str::to_owned)
            .chain([
                "-drive".to_owned(),
                format!("if=pflash,unit=1,format=raw,file={}", variables.display()),
                "-drive".to_owned(),
                format!(
                    "if=none,id=esp,format=raw,readonly=on,file=fat:{}",
                    partition.display()
                ),
                "-device".to_owned(),
                "virtio-blk-pci,drive=esp,bootindex=1".to_owned(),
            ])
            .collect(),
        }
    }
}

/// What every kernel's command line begins with.
pub(crate) fn command_line(arch: Arch) -> String {
    format!("console={} oops=panic panic=-1", arch.console())
}

/// PID 1 of a machine whose root is the laboratory's own ([`crate::initramfs`]).
pub(crate) const OUR_INIT: &str = "rdinit=/init";
