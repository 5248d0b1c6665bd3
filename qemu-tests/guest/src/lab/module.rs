// SPDX-License-Identifier: GPL-2.0

//! The module under test. Loading and unloading it are one system call each.

use anyhow::{Context, Result};
use nix::kmod::{delete_module, finit_module, DeleteModuleFlags, ModuleInitFlags};
use std::{
    fs::{self, File},
    path::Path,
    thread,
    time::{Duration, Instant},
};

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

/// Whether `inet_select_addr` is redirected.
pub(crate) fn redirected() -> Result<bool> {
    let functions = fs::read_to_string("/sys/kernel/tracing/enabled_functions")?;
    Ok(functions.contains("inet_select_addr"))
}

/// Waits until it is not redirected, which takes a second and a moment after the last device has been revealed. Returns
/// false if it still is after a minute.
pub(crate) fn not_redirected() -> Result<bool> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while redirected()? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(true)
}
