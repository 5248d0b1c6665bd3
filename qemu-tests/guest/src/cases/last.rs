// SPDX-License-Identifier: GPL-2.0

//! What must hold when all other cases have been.

use crate::lab::{case::cases, module::load, skip::Skip, Lab};
use anyhow::{ensure, Result};
use std::{fs, path::Path, thread, time::Duration};

cases![module_leaves_no_memory: alone];

/// Nothing that the kernel allocated is lost, by the module or because of it.
fn module_leaves_no_memory(lab: &mut Lab) -> Result<()> {
    const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
    // One that has given up says so, and has no file that can be written.
    if !Path::new(KMEMLEAK).exists() {
        return Err(Skip("this kernel has no kmemleak: make test KERNEL=debug".to_owned()).into());
    }
    lab.run("rmmod arp_hidden")?;
    // It takes two looks until what is not found counts as lost, and what is younger than five seconds never does.
    for _ in 0..2 {
        thread::sleep(Duration::from_secs(6));
        fs::write(KMEMLEAK, "scan")?;
    }
    let leaks = fs::read_to_string(KMEMLEAK)?;
    load()?;
    ensure!(leaks.is_empty(), "{leaks}");
    Ok(())
}
