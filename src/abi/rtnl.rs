// SPDX-License-Identifier: GPL-2.0

//! The RTNL, under which the kernel changes devices and addresses, and this module its own state.
//!
//! C header: [`include/linux/rtnetlink.h`](srctree/include/linux/rtnetlink.h)

use super::bindings;
use core::cell::UnsafeCell;
use kernel::{prelude::*, types::NotThreadSafe};

/// Evidence that the current thread holds the RTNL.
///
/// # Invariants
///
/// The RTNL is held by the current thread for as long as the value lives, and no other value of this type is
/// reachable meanwhile: a caller that has `&mut Rtnl` has the only one.
pub(crate) struct Rtnl(NotThreadSafe);

impl Rtnl {
    /// Creates the evidence in a callback that the kernel calls under the RTNL.
    ///
    /// # Safety
    ///
    /// The caller must hold the RTNL for the life of the value, and no other [`Rtnl`] of this thread may be in use
    /// during that time. Callbacks of notifier chains fulfil the latter, because nothing that this module calls while
    /// it has an [`Rtnl`] runs a chain that the module is on.
    pub(super) unsafe fn assume_held() -> Self {
        // INVARIANT: The caller promises both.
        Self(NotThreadSafe)
    }
}

/// Holds the RTNL until it is dropped.
pub(crate) struct Guard(Rtnl);

/// Takes the RTNL. Sleeps.
pub(crate) fn lock() -> Guard {
    // SAFETY: No requirements but a context that may sleep. lockdep reports a caller that must not.
    unsafe { bindings::rtnl_lock() };
    // INVARIANT: Taken above. A thread that already held it would have deadlocked.
    Guard(Rtnl(NotThreadSafe))
}

/// Takes the RTNL, or returns the error that restarts the system call.
///
/// For handlers of sysctl files. They must not wait for the RTNL: files are removed under the RTNL, and the removal
/// waits for the handlers. The kernel's own `devinet_sysctl_forward` does the same.
pub(crate) fn try_lock_or_restart() -> Result<Guard> {
    // SAFETY: No requirements.
    if unsafe { bindings::rtnl_trylock() } {
        // INVARIANT: Taken above. `rtnl_trylock` fails for a thread that already holds it.
        return Ok(Guard(Rtnl(NotThreadSafe)));
    }
    Err(restart())
}

/// Returns the error that restarts the current system call. For handlers of sysctl files.
pub(crate) fn restart() -> Error {
    // SAFETY: Sysctl handlers run in a system call.
    Error::from_errno(unsafe { bindings::restart_syscall() })
}

impl Drop for Guard {
    fn drop(&mut self) {
        // SAFETY: Taken when the guard was created.
        unsafe { bindings::rtnl_unlock() };
    }
}

impl core::ops::Deref for Guard {
    type Target = Rtnl;

    fn deref(&self) -> &Rtnl {
        &self.0
    }
}

impl core::ops::DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Rtnl {
        &mut self.0
    }
}

/// A value that only the holder of the RTNL accesses.
pub(crate) struct RtnlCell<T>(UnsafeCell<T>);

// SAFETY: The value is accessed with an `Rtnl` only, so by one thread at a time.
unsafe impl<T: Send> Sync for RtnlCell<T> {}

impl<T> RtnlCell<T> {
    /// Wraps a value.
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Returns the value, for reading.
    pub(crate) fn get<'a>(&'a self, _: &'a Rtnl) -> &'a T {
        // SAFETY: The `Rtnl` is borrowed for as long as the value, so `get_mut` cannot be called meanwhile. By its
        // invariants, no other thread has one.
        unsafe { &*self.0.get() }
    }

    /// Returns the value, for writing.
    pub(crate) fn get_mut<'a>(&'a self, _: &'a mut Rtnl) -> &'a mut T {
        // SAFETY: The only `Rtnl` is mutably borrowed for as long as the value.
        unsafe { &mut *self.0.get() }
    }
}
