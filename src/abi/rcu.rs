// SPDX-License-Identifier: GPL-2.0

//! RCU beyond [`kernel::sync::rcu`]: cheaper read-side critical sections, and grace periods that are polled.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use super::bindings;
use core::{
    mem::{ManuallyDrop, MaybeUninit},
    ops::Deref,
    sync::atomic::{
        fence,
        AtomicUsize,
        Ordering::{Acquire, Relaxed, Release}, //
    }, //
};
use kernel::{ffi::c_ulong, sync::rcu::Guard, types::NotThreadSafe};

/// Returns evidence of a read-side critical section that the caller of a callback has entered and will leave.
///
/// Entering it once more would be correct too, but costs 28 instructions per packet.
///
/// # Safety
///
/// The current thread must be in a read-side critical section for as long as the value is in use.
pub(super) unsafe fn entered() -> ManuallyDrop<Guard> {
    const { assert!(size_of::<Guard>() == 0) }
    // SAFETY: A zero-sized value has nothing to initialise. The caller promises the critical section that it stands
    // for, and `ManuallyDrop` keeps it from leaving that section.
    unsafe { MaybeUninit::uninit().assume_init() }
}

/// A read-side critical section without preemption (`rcu_read_lock_sched`). Half the cost of a [`Guard`], for sections
/// of a few dozen instructions.
pub(crate) struct SchedGuard {
    evidence: ManuallyDrop<Guard>,
    _not_send: NotThreadSafe,
}

impl SchedGuard {
    /// Enters a critical section. In any context.
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

/// The grace period that whoever may use the present state needs. It is polled, and starts when somebody polls it, or
/// needs another one, whichever is first: thousands of changes cost no grace period each.
#[derive(Clone, Copy)]
pub(super) struct GracePeriod(c_ulong);

impl GracePeriod {
    /// Returns the one from now on. In any context.
    pub(super) fn from_now() -> Self {
        // SAFETY: No requirements.
        Self(unsafe { bindings::get_state_synchronize_rcu() })
    }

    /// Whether every read-side critical section that began before [`Self::from_now`] has ended. Does not sleep. Called
    /// with interrupts on: kernels up to 6.12 assert it.
    pub(super) fn has_passed(self) -> bool {
        // SAFETY: No requirements.
        let passed = unsafe { bindings::poll_state_synchronize_rcu(self.0) };
        if !passed {
            // Starts it, unless it has started or is about to.
            // SAFETY: No requirements.
            unsafe { bindings::start_poll_synchronize_rcu() };
        }
        passed
    }
}

/// Tells readers that work in two steps whether both steps saw the same state.
///
/// The first step of a read-side critical section may come before a change, and the second after it. Before acting on
/// the second step, a reader asks whether the change has settled: whether every section that may have taken its first
/// step before the change has ended.
///
/// One writer at a time, under the writer's own lock; any number of readers.
pub(crate) struct Settling(AtomicUsize);

impl Settling {
    // Cookies are even (`rcu_seq_snap`, and `rcu_ctrlblk.gp_seq` of Tiny RCU): the kernel's own
    // RCU_GET_STATE_COMPLETED, 1, relies on that.
    const SETTLED: usize = 1;
    const ONGOING: usize = usize::MAX;

    /// Creates one without a change.
    pub(crate) const fn settled() -> Self {
        Self(AtomicUsize::new(Self::SETTLED))
    }

    /// Creates one with a change that [`Self::end`] ends.
    pub(crate) const fn ongoing() -> Self {
        Self(AtomicUsize::new(Self::ONGOING))
    }

    /// Marks the beginning of a change. A reader that sees any part of the change, and then asks, sees this mark.
    pub(crate) fn begin(&self) {
        self.0.store(Self::ONGOING, Relaxed);
        // Pairs with the fence in `is_settled`: the change becomes visible no earlier than the mark.
        fence(Release);
    }

    /// Marks the end of a change, which settles a grace period from now. In any context.
    pub(crate) fn end(&self) {
        self.0.store(GracePeriod::from_now().0, Release);
    }

    /// Marks a change that settles when `other`, of the same writer, does.
    pub(super) fn follow(&self, other: &Self) {
        self.0.store(other.0.load(Relaxed), Release);
    }

    /// Whether the change has settled. In softirq or process context, with interrupts on.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        // Orders the caller's reads so far, which may have seen part of the change, before the read of the mark.
        fence(Acquire);
        let state = self.0.load(Acquire);
        state == Self::SETTLED || self.has_passed(state)
    }

    #[cold]
    fn has_passed(&self, state: usize) -> bool {
        let passed = state != Self::ONGOING && GracePeriod(state).has_passed();
        if passed {
            // Spares the next reader the poll. Fails, and so keeps the mark, if another change has begun since.
            let _ = self
                .0
                .compare_exchange(state, Self::SETTLED, Release, Relaxed);
        }
        passed
    }
}
