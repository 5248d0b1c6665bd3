// SPDX-License-Identifier: GPL-2.0

//! The disks of rs1.

use crate::initramfs::{make_root, run};
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The files that a boot loader loads.
const BOOT: [&str; 2] = ["vmlinuz", "initrd.img"];

/// A disk with a system, and copies of the files that its boot loader would load.
pub(super) struct Disk {
    image: PathBuf,
    boot: PathBuf,
}

impl Disk {
    /// Returns the disk that scripts/system-image has made. It is never written to.
    pub(super) fn pristine(system: &Path) -> Self {
        Self {
            image: system.join("disk.img"),
            boot: system.join("boot"),
        }
    }

    /// Creates a copy-on-write copy of this disk in a folder.
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

    /// Returns the paths of the kernel and the initramfs.
    pub(super) fn boot_files(&self) -> [PathBuf; 2] {
        BOOT.map(|file| self.boot.join(file))
    }

    /// Returns QEMU's arguments for the disk.
    pub(super) fn plug(&self) -> [String; 4] {
        plug("disk", &self.image, "format=qcow2")
    }

    /// Fetches the boot loader's files from the shared disk, where [`SAVE_BOOT_FILES`] has put them.
    pub(super) fn take_boot_files(&self, shared: &Shared) -> Result<()> {
        for (file, to) in BOOT.iter().zip(self.boot_files()) {
            run(Command::new("debugfs")
                .args(["-R", &format!("dump /{file} {}", to.display())])
                .arg(&shared.image)
                .stderr(Stdio::null()))?; // prints its version
        }
        Ok(())
    }
}

/// The command by which rs1 copies the kernel and the initramfs that it would boot next to the shared disk.
pub(super) const SAVE_BOOT_FILES: &str = "cp -L /vmlinuz /initrd.img /lab/";

/// The disk that rs1 mounts at /lab.
pub(super) struct Shared {
    image: PathBuf,
}

impl Shared {
    /// Creates the disk. It has the guest, the packages of each folder under the given name, and in `check` what `make check`
    /// builds.
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

    /// Returns QEMU's arguments for the disk.
    pub(super) fn plug(&self) -> [String; 4] {
        plug("lab", &self.image, "format=raw")
    }
}

/// Returns QEMU's arguments for the disk with a newer kernel's packages.
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
