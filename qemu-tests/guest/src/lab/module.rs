// SPDX-License-Identifier: GPL-2.0

//! The module under test, loaded and unloaded.

use crate::machine;
use anyhow::{ensure, Result};
use std::path::Path;

fn is_loaded() -> bool {
    Path::new("/sys/module/arp_hidden").exists()
}

/// Loads the module, unless it is loaded.
pub(crate) fn load() -> Result<()> {
    if !is_loaded() {
        let (status, output) = machine::shell("insmod /arp_hidden.ko")?;
        ensure!(status == 0, "insmod: {output}");
    }
    Ok(())
}

/// Unloads it, if it is loaded.
pub(crate) fn unload() -> Result<()> {
    if is_loaded() {
        let (status, output) = machine::shell("rmmod arp_hidden")?;
        ensure!(status == 0, "rmmod: {output}");
    }
    Ok(())
}
