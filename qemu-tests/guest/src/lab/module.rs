// SPDX-License-Identifier: GPL-2.0

//! The module under test. Loading and unloading it are one system call each.

use anyhow::{Context, Result};
use nix::kmod::{delete_module, finit_module, DeleteModuleFlags, ModuleInitFlags};
use std::{fs::File, path::Path};

/// The module's file.
pub(crate) struct Module(File);

impl Module {
    /// Opens the file.
    pub(crate) fn open() -> Result<Self> {
        Ok(Self(File::open("/arp_hidden.ko")?))
    }

    /// Loads the module, as insmod does.
    pub(crate) fn insert(&self) -> nix::Result<()> {
        finit_module(&self.0, c"", ModuleInitFlags::empty())
    }
}

/// Unloads the module, as rmmod does.
pub(crate) fn remove() -> nix::Result<()> {
    delete_module(c"arp_hidden", DeleteModuleFlags::O_NONBLOCK)
}

fn is_loaded() -> bool {
    Path::new("/sys/module/arp_hidden").exists()
}

/// Loads the module unless it is loaded.
pub(crate) fn load() -> Result<()> {
    if !is_loaded() {
        Module::open()?.insert().context("insmod")?;
    }
    Ok(())
}

/// Unloads the module if it is loaded.
pub(crate) fn unload() -> Result<()> {
    if is_loaded() {
        remove().context("rmmod")?;
    }
    Ok(())
}
