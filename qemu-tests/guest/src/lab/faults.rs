// SPDX-License-Identifier: GPL-2.0

//! Failing allocations, through the kernel's fault injection (/proc/thread-self/fail-nth).

use crate::lab::skip::Skip;
use anyhow::{ensure, Context, Result};
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::FileExt,
    path::Path,
};

const FAILSLAB: &str = "/sys/kernel/debug/failslab";
/// More allocations than any of the attempts makes.
const END: u32 = 20_000;

/// Makes chosen allocations of the current thread fail.
pub(crate) struct Faults(());

/// The results of a walk.
#[derive(Clone, Copy, Default)]
pub(crate) struct Walked {
    /// The number of attempts in which an allocation failed.
    pub(crate) failed: u32,
    /// The number of those that failed as a whole. In the others, the kernel did without the memory.
    pub(crate) refused: u32,
}

impl Faults {
    /// Enables failures, even of allocations that may sleep.
    pub(crate) fn new() -> Result<Self> {
        if !Path::new(FAILSLAB).exists() || !Path::new("/proc/thread-self/fail-nth").exists() {
            return Err(
                Skip("this kernel has no failslab: make test KERNEL=debug".to_owned()).into(),
            );
        }
        fs::write(format!("{FAILSLAB}/ignore-gfp-wait"), "N")?;
        // A message for each failure would count as a complaint.
        fs::write(format!("{FAILSLAB}/verbose"), "0")?;
        Ok(Self(()))
    }

    /// Calls `f` with the `n`-th allocation of this thread failing. The second result is whether `f` has made that many.
    fn nth<T>(&self, n: u32, f: impl FnOnce() -> T) -> Result<(T, bool)> {
        let mut switch = switch()?;
        let mut left = [0; 16];
        switch.write_all(n.to_string().as_bytes())?;
        let result = f();
        let len = switch.read_at(&mut left, 0)?;
        switch.write_at(b"0", 0)?;
        let left = std::str::from_utf8(&left[..len])?.trim();
        Ok((result, left == "0"))
    }

    /// Attempts something again and again: with its first allocation failing, then with its second, until it makes no more.
    /// `judge` gets the number of the allocation, the result, and whether the allocation failed. It checks the result,
    /// restores the state before the attempt, and returns whether the attempt failed as a whole.
    pub(crate) fn walk<T>(
        &self,
        mut attempt: impl FnMut() -> T,
        mut judge: impl FnMut(u32, T, bool) -> Result<bool>,
    ) -> Result<Walked> {
        let mut walked = Walked::default();
        for n in 1..END {
            let (result, failed) = self.nth(n, &mut attempt)?;
            let refused =
                judge(n, result, failed).with_context(|| format!("allocation {n} fails"))?;
            if !failed {
                ensure!(!refused, "failed without a failing allocation");
                return Ok(walked);
            }
            walked.failed += 1;
            walked.refused += u32::from(refused);
        }
        anyhow::bail!("no end of allocations")
    }
}

fn switch() -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/proc/thread-self/fail-nth")
        .context("fail-nth")
}
