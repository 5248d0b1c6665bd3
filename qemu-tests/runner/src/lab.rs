// SPDX-License-Identifier: GPL-2.0

//! What the actions work with.

use crate::{
    initramfs::{self, Kernel},
    vm::{Boot, OUR_INIT},
};
use anyhow::{Context, Result};
use clap::Args;
use std::{fs, path::PathBuf};

/// What `install` works with besides.
#[derive(Args)]
pub(crate) struct System {
    /// The folder of the system, as scripts/system-image made it.
    #[arg(long)]
    pub(crate) system: PathBuf,
    /// The folder with the packages.
    #[arg(long)]
    pub(crate) packages: PathBuf,
    /// The folder with a later version of the packages.
    #[arg(long)]
    pub(crate) later: PathBuf,
    /// The module, built for the kernel that the system has at first.
    #[arg(long)]
    pub(crate) first_module: PathBuf,
    /// Only the cases whose names contain one of these, which commas separate.
    #[arg(long, default_value = "")]
    pub(crate) case: String,
}

/// What every action works with.
#[derive(Args)]
pub(crate) struct Given {
    /// The folder of the kernel, as scripts/kernel made it.
    #[arg(long)]
    pub(crate) kernel: PathBuf,
    /// The module, built for that kernel; the tests' own modules and programs lie beside it.
    #[arg(long)]
    module: PathBuf,
}

/// What every action needs to start machines.
pub(crate) struct Lab {
    /// The kernel that machines boot.
    pub(crate) kernel: Kernel,
    /// The module.
    pub(crate) module: PathBuf,
    /// The machines' root.
    pub(crate) initramfs: PathBuf,
    /// Where consoles, logs and pcaps go.
    pub(crate) logs: PathBuf,
}

impl Lab {
    /// Makes the machines' root. Logs and pcaps go to `lab/` beside the module.
    pub(crate) fn new(given: &Given) -> Result<Self> {
        let kernel = Kernel::at(&given.kernel)?;
        let logs = given
            .module
            .parent()
            .context("the module is in no folder")?
            .join("lab");
        fs::create_dir_all(&logs)?;
        let mut guest = std::env::current_exe()?.with_file_name("guest");
        if !kernel.arch().is_own() {
            // Cargo's folder for another target.
            let target = guest.ancestors().nth(2).context("no target folder")?;
            guest = target.join(kernel.arch().target()).join("release/guest");
        }
        let beside = ["holder.ko", "fentry.o"].map(|name| given.module.with_file_name(name));
        let files = [&*given.module, &beside[0], &beside[1]];
        let initramfs = initramfs::make(&kernel, &files, &guest, &logs)?;
        Ok(Self {
            kernel,
            module: given.module.clone(),
            initramfs,
            logs,
        })
    }

    /// How a machine boots the kernel, with the guest as PID 1.
    pub(crate) fn boot(&self) -> Boot<'_> {
        self.boot_with(OUR_INIT)
    }

    /// As [`Self::boot`], with other options on the kernel's command line.
    pub(crate) fn boot_with<'a>(&'a self, options: &'a str) -> Boot<'a> {
        Boot::Kernel {
            arch: self.kernel.arch(),
            binary: &self.kernel.binary,
            initramfs: &self.initramfs,
            options,
        }
    }
}
