// SPDX-License-Identifier: GPL-2.0

//! The disks of rs1.

use crate::initramfs::{make_root, run};
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What a boot loader loads.
const BOOT: [&str; 2] = ["vmlinuz", "initrd.img"];

/// A disk with a system, and a copy of what its boot loader would load.
pub(super) struct Disk {
    image: PathBuf,
    boot: PathBuf,
}

impl Disk {
    /// The system that scripts/system-image made, never written to.
    pub(super) fn pristine(system: &Path) -> Self {
        Self {
            image: system.join("disk.img"),
            boot: system.join("boot"),
        }
    }

    /// A new disk in a folder that begins with what this one has. Changes go to the new one alone.
    pub(super) fn branch(&self, folder: &Path, name: &str) -> Result<Self> {
        let image = folder.join(format!("install-{name}.qcow2"));
        let format = match self.image.extension() {
            Some(kind) if kind == "qcow2" => "qcow2",
            _ => "raw",
        };
        run(Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", format, "-b"])
            .args([&self.image, &image]))?;
        let boot = image.with_extension("boot");
        fs::create_dir_all(&boot)?;
        for file in BOOT {
            fs::copy(self.boot.join(file), boot.join(file))?;
        }
        Ok(Self { image, boot })
    }

    /// The kernel and the initramfs.
    pub(super) fn boot_files(&self) -> [PathBuf; 2] {
        BOOT.map(|file| self.boot.join(file))
    }

    /// QEMU's arguments for it.
    pub(super) fn plug(&self) -> [String; 4] {
        plug("disk", &self.image, "format=qcow2")
    }

    /// Takes what the boot loader loads next time from where [`SAVE_BOOT_FILES`] put it.
    pub(super) fn take_boot_files(&self, shared: &Shared) -> Result<()> {
        for (file, to) in BOOT.iter().zip(self.boot_files()) {
            run(Command::new("debugfs")
                .args(["-R", &format!("dump /{file} {}", to.display())])
                .arg(&shared.image)
                .stderr(Stdio::null()))?; // its version
        }
        Ok(())
    }
}

/// A command of rs1's: puts the kernel and the initramfs that its system would boot next on the shared disk.
pub(super) const SAVE_BOOT_FILES: &str = "cp -L /vmlinuz /initrd.img /lab/";

/// The disk that rs1 has at /lab.
pub(super) struct Shared {
    image: PathBuf,
}

impl Shared {
    /// Makes it, with the guest program, the packages of each folder under the folder's name, and what `make check` builds
    /// in `check`.
    pub(super) fn new(logs: &Path, packages: &[(&Path, &str)], module: &Path) -> Result<Self> {
        let folder = logs.join("shared");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        for (from, name) in packages {
            let to = folder.join(name);
            fs::create_dir_all(&to)?;
            for entry in fs::read_dir(from)? {
                let from = entry?.path();
                if from.extension().is_some_and(|kind| kind == "deb") {
                    fs::copy(&from, to.join(from.file_name().context("no file")?))?;
                }
            }
        }
        let guest = std::env::current_exe()?.with_file_name("guest");
        fs::copy(guest, folder.join("guest"))?;
        let check = folder.join("check");
        make_root(&check.join("root"), module)?;
        fs::copy(module, check.join("arp_hidden.ko"))?;
        fs::copy(std::env::current_exe()?, check.join("runner"))?;
        for (script, text) in [
            ("lib.sh", include_str!("../../../../scripts/lib.sh")),
            ("check.sh", include_str!("../../../../scripts/check.sh")),
        ] {
            fs::write(check.join(script), text)?;
        }
        let image = folder.with_extension("img");
        run(Command::new("mke2fs")
            .args(["-q", "-F", "-t", "ext4", "-L", "lab", "-d"])
            .args([&folder, &image])
            .arg("256M"))?;
        Ok(Self { image })
    }

    /// QEMU's arguments for it.
    pub(super) fn plug(&self) -> [String; 4] {
        plug("lab", &self.image, "format=raw")
    }
}

/// QEMU's arguments for the disk with a newer kernel's packages.
pub(super) fn plug_archive(system: &Path) -> [String; 4] {
    let image = system.join("archive.img");
    plug("archive", &image, "format=raw,readonly=on")
}

fn plug(name: &str, image: &Path, options: &str) -> [String; 4] {
    [
        "-drive".to_owned(),
        format!(
            "if=none,id={name},cache=unsafe,file={},{options}",
            image.display()
        ),
        "-device".to_owned(),
        format!("virtio-blk-pci,drive={name}"),
    ]
}
