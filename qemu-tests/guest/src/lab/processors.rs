// SPDX-License-Identifier: GPL-2.0

//! The processors that a machine has beyond those that it boots with.

use crate::lab::skip::Skip;
use anyhow::Result;
use std::{fs, path::PathBuf};

/// More of them than were online, until it is dropped.
pub(crate) struct Processors {
    taken: Vec<PathBuf>,
}

impl Processors {
    /// Takes as many online as make `count`.
    pub(crate) fn online(count: usize) -> Result<Self> {
        let mut more = Self { taken: Vec::new() };
        // The first cannot be switched off, and has no file.
        for cpu in 1..count {
            let file = PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}/online"));
            if file.exists() && fs::read_to_string(&file)?.trim() == "0" {
                fs::write(&file, "1")?;
                more.taken.push(file);
            }
        }
        let online = std::thread::available_parallelism()?.get();
        if online < count {
            return Err(Skip(format!("it takes {count} processors, here are {online}")).into());
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
