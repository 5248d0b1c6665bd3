// SPDX-License-Identifier: GPL-2.0

//! Allocations that fail: the kernel's fault injection, by /proc/thread-self/fail-nth.

use crate::lab::skip::Skip;
use anyhow::{ensure, Context, Result};
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::FileExt,
    path::Path,
};

const FAILSLAB: &str = "/sys/kernel/debug/failslab";
/// More allocations than anything makes that is walked through.
const END: u32 = 20_000;

/// The switch by which an allocation of the current thread's is chosen to fail.
pub(crate) struct Faults(());

/// How many attempts a walk made.
#[derive(Clone, Copy, Default)]
pub(crate) struct Walked {
    /// An allocation failed in each of these.
    pub(crate) failed: u32,
    /// Of them, what was attempted failed too in these; in the others the kernel did without.
    pub(crate) refused: u32,
}

impl Faults {
    /// Makes the kernel's allocations fail when they are chosen to, also those that may sleep.
    pub(crate) fn new() -> Result<Self> {
        if !Path::new(FAILSLAB).exists() || !Path::new("/proc/thread-self/fail-nth").exists() {
            return Err(
                Skip("this kernel has no failslab: make test KERNEL=debug".to_owned()).into(),
            );
        }
        fs::write(format!("{FAILSLAB}/ignore-gfp-wait"), "N")?;
        // What fails is on purpose, and not to be taken for a splat.
        fs::write(format!("{FAILSLAB}/verbose"), "0")?;
        Ok(Self(()))
    }

    /// Does something while the `n`-th allocation that this thread makes in it fails. The second result is whether
    /// it came to that.
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

    /// Attempts something again and again, the first time with its first allocation failing, then with its second,
    /// until it makes no more. `judge` gets what came of each attempt, finds fault with it or not, makes all as it
    /// was before, and says whether it was refused.
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
                ensure!(!refused, "refused without a reason");
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
