// SPDX-License-Identifier: GPL-2.0

//! Per-CPU counters: counting is one instruction, and no CPU waits for another.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h)

use super::bindings;
use core::{iter, ptr::NonNull};
use kernel::{
    cpu::nr_cpu_ids,
    error::code::ENOMEM,
    ffi::{c_int, c_ulong},
    prelude::*, //
};

/// `N` counters, each a word per possible CPU.
///
/// The drop does not sleep.
///
/// # Invariants
///
/// A per-CPU allocation of `[c_ulong; N]`. This is an offset, which must not be dereferenced.
pub(crate) struct Counters<const N: usize>(NonNull<c_ulong>);

// SAFETY: A CPU writes its own copy with a single instruction, and any CPU may read any copy as a whole.
unsafe impl<const N: usize> Send for Counters<N> {}
// SAFETY: As above.
unsafe impl<const N: usize> Sync for Counters<N> {}

impl<const N: usize> Counters<N> {
    /// Allocates counters, set to 0. Sleeps.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: No requirements. For a size of 0 the result is null.
        let counters = unsafe {
            bindings::__alloc_percpu(size_of::<[c_ulong; N]>(), align_of::<[c_ulong; N]>())
        };
        // INVARIANT: Allocated above.
        Ok(Self(NonNull::new(counters.cast()).ok_or(ENOMEM)?))
    }

    /// Increments a counter. In any context; interrupts and preemption lose no count.
    pub(crate) fn increment(&self, which: usize) {
        // SAFETY: `at` returns the offset of a live counter.
        unsafe { bindings::this_cpu_inc(self.at(which)) };
    }

    /// Returns the sum over all CPUs. Exact while no CPU counts; otherwise no less than what was counted before the
    /// call.
    pub(crate) fn sum(&self, which: usize) -> u64 {
        // SAFETY: No requirements.
        let next = |cpu: c_int| unsafe { bindings::next_possible_cpu(cpu) };
        iter::successors(Some(next(-1)), |cpu| Some(next(*cpu as c_int)))
            .take_while(|cpu| *cpu < nr_cpu_ids())
            .map(|cpu| {
                // SAFETY: `at` returns the offset of a live counter, and the CPU is a possible one.
                let copy = unsafe { bindings::per_cpu_ptr(self.at(which), cpu) };
                // SAFETY: The copy is a live word, which its CPU writes as a whole.
                unsafe { copy.read_volatile() as u64 }
            })
            .sum()
    }

    fn at(&self, which: usize) -> *mut c_ulong {
        assert!(which < N);
        self.0.as_ptr().wrapping_add(which)
    }
}

impl<const N: usize> Drop for Counters<N> {
    fn drop(&mut self) {
        // SAFETY: Allocated, by the type invariants. The owner of `&mut self` is the last user.
        unsafe { bindings::free_percpu(self.0.as_ptr().cast()) };
    }
}
