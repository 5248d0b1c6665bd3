// SPDX-License-Identifier: GPL-2.0

//! What must hold after all other cases.

use crate::lab::{case::cases, module::load, skip::Skip, Lab};
use anyhow::{ensure, Result};
use std::{fs, path::Path, thread, time::Duration};

cases![module_leaves_no_memory: alone];

/// No memory is leaked, by the module or because of it.
fn module_leaves_no_memory(lab: &mut Lab) -> Result<()> {
    const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
    // If kmemleak has given up, the kernel log says so, and the write below fails.
    if !Path::new(KMEMLEAK).exists() {
        return Err(Skip("this kernel has no kmemleak: make test KERNEL=debug".to_owned()).into());
    }
    lab.run("rmmod arp_hidden")?;
    // A leak is reported by the second scan, and only if the object is older than five seconds.
    for _ in 0..2 {
        thread::sleep(Duration::from_secs(6));
        fs::write(KMEMLEAK, "scan")?;
    }
    let leaks = fs::read_to_string(KMEMLEAK)?;
    load()?;
    ensure!(leaks.is_empty(), "{leaks}");
    Ok(())
}
