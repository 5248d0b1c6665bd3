// SPDX-License-Identifier: GPL-2.0

//! What the module takes of memory, and how long loading and unloading take.

use super::{counter::count, site::Site};
use crate::lab::{
    module::{self, Module},
    Way,
};
use anyhow::{bail, Context, Result};
use protocol::bench::{Event, Setup};
use std::{fs, thread, time::Duration};

impl Site<'_> {
    /// Loads and unloads it several times.
    pub(super) fn load_and_unload(&mut self) -> Result<()> {
        let mut samples = [const { Vec::new() }; 4];
        let [load, unload, memory_loaded, memory_hidden] = &mut samples;
        let module = Module::open()?;
        for _ in 0..5 {
            let before = used_memory()?;
            load.push(count(|| Ok(module.insert()?))?.0);
            let loaded = used_memory()?;
            self.host.conceal("lo", Way::Hidden)?;
            let hidden = used_memory()?;
            unload.push(count(|| Ok(module::remove()?))?.0);
            memory_loaded.push(loaded.saturating_sub(before));
            memory_hidden.push(hidden.saturating_sub(loaded));
        }
        let events = [
            Event::Load,
            Event::Unload,
            Event::MemoryLoaded,
            Event::MemoryHidden,
        ];
        for (event, samples) in events.into_iter().zip(samples) {
            self.report(event, Setup::Hidden, 0, samples)?;
        }
        Ok(())
    }
}

/// The memory that the kernel has in use: the objects of its slabs, allocations too large for slabs, and what
/// is mapped page by page.
fn used_memory() -> Result<u64> {
    // What was freed under RCU, and then what slabs keep at hand for the next allocation.
    thread::sleep(Duration::from_millis(500));
    for cache in fs::read_dir("/sys/kernel/slab")? {
        fs::write(cache?.path().join("shrink"), "1")?;
    }
    const PAGE: u64 = 4096;
    let mut used = 0;
    let mut pages_of_slabs = 0;
    // name, active objects, objects, object size, objects a slab, pages a slab : tunables : active slabs, slabs
    for line in fs::read_to_string("/proc/slabinfo")?.lines().skip(2) {
        let numbers: Vec<u64> = line
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let [active, _, size, _, pages, .., slabs, _] = numbers[..] else {
            bail!("/proc/slabinfo: {line}");
        };
        used += active * size;
        pages_of_slabs += slabs * pages * PAGE;
    }
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let of = |name: &str| -> Result<u64> {
        let kib: u64 = meminfo
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"))
            .and_then(|number| number.parse().ok())
            .with_context(|| format!("/proc/meminfo has no {name}"))?;
        Ok(kib << 10)
    };
    let large = of("Slab:")?.saturating_sub(pages_of_slabs);
    Ok(used + large + of("VmallocUsed:")?)
}
