// SPDX-License-Identifier: GPL-2.0

//! The processors that a case runs on.

use crate::lab::skip::Skip;
use anyhow::Result;
use nix::{
    sched::{sched_getaffinity, sched_setaffinity, CpuSet},
    unistd::Pid,
};
use std::{fs, path::PathBuf};

/// Processors that are online until this is dropped.
pub(crate) struct Processors {
    taken: Vec<PathBuf>,
}

impl Processors {
    /// Takes processors online until there are `count`.
    pub(crate) fn online(count: usize) -> Result<Self> {
        let mut more = Self { taken: Vec::new() };
        // The first processor cannot be taken offline, and has no file.
        for cpu in 1..count {
            let file = PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}/online"));
            if file.exists() && fs::read_to_string(&file)?.trim() == "0" {
                fs::write(&file, "1")?;
                more.taken.push(file);
            }
        }
        let online = std::thread::available_parallelism()?.get();
        if online < count {
            return Err(Skip(format!("needs {count} processors, there are {online}")).into());
        }
        Ok(more)
    }
}

impl Drop for Processors {
    fn drop(&mut self) {
        for file in &self.taken {
            drop(fs::write(file, "0"));
        }
    }
}

/// Keeps the case on one processor until this is dropped. A veth queues frames on the processor that sends them, so frames
/// from two processors could overtake each other.
pub(crate) struct OneProcessor {
    before: CpuSet,
}

impl OneProcessor {
    pub(crate) fn new() -> Result<Self> {
        let before = sched_getaffinity(Pid::this())?;
        let mut one = CpuSet::new();
        one.set(0)?;
        sched_setaffinity(Pid::this(), &one)?;
        Ok(Self { before })
    }
}

impl Drop for OneProcessor {
    fn drop(&mut self) {
        let _ = sched_setaffinity(Pid::this(), &self.before);
    }
}
