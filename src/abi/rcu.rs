// SPDX-License-Identifier: GPL-2.0

//! Read-side critical sections of RCU for paths where [`kernel::sync::rcu::read_lock`] costs too much.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use super::bindings;
use core::{
    mem::{ManuallyDrop, MaybeUninit},
    ops::Deref, //
};
use kernel::{sync::rcu::Guard, types::NotThreadSafe};

/// Evidence of a read-side critical section that the caller of a callback has entered and will leave.
///
/// Entering it once more would be right too, but takes 28 instructions of each packet.
///
/// # Safety
///
/// The current thread must be in a read-side critical section for as long as the value is in use.
pub(super) unsafe fn entered() -> ManuallyDrop<Guard> {
    const { assert!(size_of::<Guard>() == 0) }
    // SAFETY: A value of no size has nothing to initialise. It says that there is a critical section, as the
    // caller promises, and it is never dropped, which would leave it.
    unsafe { MaybeUninit::uninit().assume_init() }
}

/// A read-side critical section without preemption (`rcu_read_lock_sched`): for some dozens of instructions,
/// at half the price.
pub(crate) struct SchedGuard {
    evidence: ManuallyDrop<Guard>,
    _not_send: NotThreadSafe,
}

impl SchedGuard {
    /// Enters one. In any context.
    #[inline]
    pub(crate) fn new() -> Self {
        // SAFETY: No requirements.
        unsafe { bindings::rcu_read_lock_sched() };
        Self {
            // SAFETY: Entered, until the value is dropped.
            evidence: unsafe { entered() },
            _not_send: NotThreadSafe,
        }
    }
}

impl Deref for SchedGuard {
    type Target = Guard;

    #[inline]
    fn deref(&self) -> &Guard {
        &self.evidence
    }
}

impl Drop for SchedGuard {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Entered when the value was made.
        unsafe { bindings::rcu_read_unlock_sched() };
    }
}
