// SPDX-License-Identifier: GPL-2.0

//! The counter of instructions.

use anyhow::Result;

#[cfg(target_arch = "x86_64")]
fn now() -> u64 {
    // SAFETY: Every x86-64 processor has the instruction, and Linux lets programs use it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// It runs at 1 GHz, so that it counts nanoseconds.
#[cfg(target_arch = "aarch64")]
fn now() -> u64 {
    let count: u64;
    // SAFETY: Every 64-bit Arm processor has the register, and Linux lets programs read it.
    unsafe { core::arch::asm!("isb", "mrs {}, cntvct_el0", out(reg) count) };
    count
}

/// What `f` takes.
pub(super) fn count<T>(f: impl FnOnce() -> Result<T>) -> Result<(u64, T)> {
    let before = now();
    let result = f();
    let after = now();
    Ok((after - before, result?))
}
