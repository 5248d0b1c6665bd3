// SPDX-License-Identifier: GPL-2.0

//! What the runner's actions share.

use crate::{
    initramfs::{self, Kernel},
    vm::{Boot, OUR_INIT},
};
use anyhow::{Context, Result};
use clap::Args;
use std::{fs, path::PathBuf};

/// The arguments that only `install` takes.
#[derive(Args)]
pub(crate) struct System {
    /// The folder of the system that scripts/system-image has made.
    #[arg(long)]
    pub(crate) system: PathBuf,
    /// The folder with the packages.
    #[arg(long)]
    pub(crate) packages: PathBuf,
    /// The folder with a later version of the packages.
    #[arg(long)]
    pub(crate) later: PathBuf,
    /// The module, built for the system's first kernel.
    #[arg(long)]
    pub(crate) first_module: PathBuf,
    /// Only the cases whose names contain one of these patterns, separated by commas.
    #[arg(long, default_value = "")]
    pub(crate) case: String,
}

/// The arguments of every action that boots machines.
#[derive(Args)]
pub(crate) struct Given {
    /// The folder of the kernel that scripts/kernel has made.
    #[arg(long)]
    pub(crate) kernel: PathBuf,
    /// The module, built for that kernel. The tests' own modules and programs are beside it.
    #[arg(long)]
    module: PathBuf,
}

/// What machines boot, and where their logs go.
pub(crate) struct Lab {
    /// The kernel.
    pub(crate) kernel: Kernel,
    /// The module.
    pub(crate) module: PathBuf,
    /// The machines' root.
    pub(crate) initramfs: PathBuf,
    /// The folder for consoles, logs and pcaps.
    pub(crate) logs: PathBuf,
}

impl Lab {
    /// Creates the machines' root. Logs and pcaps go to `lab/` beside the module.
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
            // Cargo has a folder for each target.
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

    /// Returns how a machine boots the kernel, with the guest as PID 1.
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
