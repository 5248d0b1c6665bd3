// SPDX-License-Identifier: GPL-2.0

//! How a machine boots.

use crate::arch::Arch;
use std::path::Path;

/// How a machine boots.
pub(crate) enum Boot<'a> {
    /// QEMU loads the kernel.
    Kernel {
        /// The kernel's architecture.
        arch: Arch,
        /// The kernel's binary.
        binary: &'a Path,
        /// The initramfs.
        initramfs: &'a Path,
        /// The end of its command line, which names PID 1 or the root.
        options: &'a str,
    },
    /// UEFI firmware loads the boot loader in the system partition, if Secure Boot allows that.
    SecureBoot {
        /// The firmware's variables, including its keys.
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
            // Secure Boot requires that the variables are writable only in system management mode.
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

/// Returns the beginning of every kernel's command line.
pub(crate) fn command_line(arch: Arch) -> String {
    format!("console={} oops=panic panic=-1", arch.console())
}

/// The option that names PID 1 in the laboratory's own root ([`crate::initramfs`]).
pub(crate) const OUR_INIT: &str = "rdinit=/init";
