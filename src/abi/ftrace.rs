// SPDX-License-Identifier: GPL-2.0

//! Redirects `inet_select_addr` with an IPMODIFY ftrace operation, as livepatch redirects functions.
//!
//! C header: [`include/linux/ftrace.h`](srctree/include/linux/ftrace.h)

use super::{
    bindings,
    netdevice::NetDevice,
    rtnl::Rtnl, //
};
use core::{
    cell::Cell,
    marker::PhantomData,
    net::Ipv4Addr,
    ops::Range, //
};
use kernel::{
    container_of,
    error::to_result,
    ffi::{c_int, c_ulong},
    prelude::*,
    types::Opaque, //
};

/// Calls the kernel's own `inet_select_addr`, past the redirection. Returns a source address for packets from `dev` to
/// `dst` with a scope of at most `scope`, or the unspecified address if there is none. In any context.
pub(crate) fn inet_select_addr(dev: &NetDevice, dst: Ipv4Addr, scope: u8) -> Ipv4Addr {
    // SAFETY: The device is alive.
    let addr = unsafe {
        bindings::inet_select_addr(dev.as_ptr(), dst.to_bits().to_be(), c_int::from(scope))
    };
    Ipv4Addr::from_bits(u32::from_be(addr))
}

/// Returns the address range of the module's code.
fn own_text() -> Range<usize> {
    // SAFETY: No requirements.
    let (start, len) = unsafe { (bindings::own_text_start(), bindings::own_text_size()) };
    start..start + len
}

/// A replacement of `inet_select_addr`, for its callers outside this module.
pub(crate) trait SelectAddr: 'static {
    /// Called instead of `inet_select_addr`, in any context in which the kernel selects addresses. Must not sleep.
    fn select(dev: &NetDevice, dst: Ipv4Addr, scope: u8) -> Ipv4Addr;
}

/// How long the redirection stays when it is not needed any more, in jiffies: a second.
const LINGER: c_ulong = bindings::HZ as c_ulong;

/// The redirection: put in place at once, taken out a while later by a work item.
///
/// Taking it out waits until no task can be in the replacement any more, some tenths of a second. That is too long for
/// the RTNL, under which flags are written and devices leave. It lingers so that whoever reveals a device and hides one
/// again, such as a script that makes a device anew, does not wait for that either.
#[pin_data(PinnedDrop)]
pub(crate) struct Redirect<T: SelectAddr> {
    #[pin]
    ops: Opaque<bindings::ftrace_ops>,
    #[pin]
    work: Opaque<bindings::delayed_work>,
    /// Whether `ops` are registered. Accessed by the work item, which never runs concurrently with itself, and by
    /// [`Self::put`] and `drop` once they have cancelled the work item.
    registered: Cell<bool>,
    /// The module's own code.
    text: Range<usize>,
    _user: PhantomData<fn() -> T>,
}

// SAFETY: While registered, only the kernel accesses the operations. `registered` is accessed by one thread at a time:
// the work item, or the one that has cancelled it and holds the RTNL, which `take_out` needs too, or owns the value.
unsafe impl<T: SelectAddr> Send for Redirect<T> {}
// SAFETY: As above.
unsafe impl<T: SelectAddr> Sync for Redirect<T> {}

impl<T: SelectAddr> Redirect<T> {
    /// Creates it, not in place.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            ops: Opaque::uninit(),
            work <- Opaque::ffi_init(|work: *mut bindings::delayed_work| {
                // SAFETY: `work` is valid for writing and pinned.
                unsafe { bindings::init_delayed_work(work, Some(Self::work)) };
            }),
            registered: Cell::new(false),
            text: own_text(),
            _user: PhantomData,
        })
    }

    /// Puts it in place, unless it is. Sleeps; if the work item is just taking it out, until that is done.
    ///
    /// Fails with EBUSY if another user of ftrace, such as a live patch, redirects the function, or if
    /// kernel.ftrace_enabled is 0; with ENODEV if ftrace is disabled after an error.
    pub(crate) fn put(&self, _: &Rtnl) -> Result {
        // SAFETY: The work item is initialised. It does not take the RTNL, which the caller holds.
        unsafe { bindings::cancel_delayed_work_sync(self.work.get()) };
        if self.registered.get() {
            return Ok(());
        }
        let ops = self.ops.get();
        // Where ftrace does not pass a function's arguments (arm64 before 6.2), it lets operations redirect only if they
        // have all registers saved.
        let registers = if cfg!(CONFIG_DYNAMIC_FTRACE_WITH_ARGS) {
            0
        } else {
            bindings::FTRACE_OPS_FL_SAVE_REGS
        };
        let init = bindings::ftrace_ops {
            func: Some(Self::enter),
            // PERMANENT makes writes of 0 to kernel.ftrace_enabled fail, instead of silently ending the redirection.
            flags: (bindings::FTRACE_OPS_FL_IPMODIFY
                | bindings::FTRACE_OPS_FL_PERMANENT
                | registers) as c_ulong,
            ..Default::default()
        };
        // Anew each time: `ftrace_free_filter` of 6.12 and before leaves a pointer to the freed filter behind.
        // SAFETY: `ops` is valid for writing. It is not registered, and nobody uses it since it was unregistered.
        unsafe { ops.write(init) };
        let function = bindings::inet_select_addr as *const () as c_ulong;
        // SAFETY: The operations are initialised and pinned.
        to_result(unsafe { bindings::ftrace_set_filter_ip(ops, function, 0, 0) })?;
        // SAFETY: The operations are initialised, pinned, and unregistered before they are freed.
        to_result(unsafe { bindings::register_ftrace_function(ops) }).inspect_err(|_| {
            // SAFETY: The operations are not registered, so nobody uses the filter.
            unsafe { bindings::ftrace_free_filter(ops) }
        })?;
        self.registered.set(true);
        Ok(())
    }

    /// Has it taken out after a while, unless it is put again before that. Does not wait.
    pub(crate) fn take_out(&self, _: &Rtnl) {
        // SAFETY: The work item is initialised, pinned, and cancelled before it is freed.
        unsafe { bindings::schedule_delayed_work(self.work.get(), LINGER) };
    }

    /// Takes it out, if it is in place. Sleeps.
    fn unregister(&self) {
        if !self.registered.take() {
            return;
        }
        // This waits for tasks that were preempted in the trampoline or in the replacement, neither of which sleeps.
        // SAFETY: Registered by `put`.
        let error = unsafe { bindings::unregister_ftrace_function(self.ops.get()) };
        if error != 0 {
            pr_alert!(
                "cannot restore inet_select_addr ({error}): ftrace is broken, do not unload\n"
            );
        }
        // It does not wait for idle tasks. An interrupt on top of one is an RCU read-side critical section.
        // SAFETY: No requirements but a context that may sleep.
        unsafe { kernel::bindings::synchronize_rcu() };
        // SAFETY: Unregistered above, so nobody uses the filter.
        unsafe { bindings::ftrace_free_filter(self.ops.get()) };
    }

    /// # Safety
    ///
    /// Called only by the workqueue, for the work item of a live value.
    unsafe extern "C" fn work(work: *mut bindings::work_struct) {
        // SAFETY: The work item is part of a field of `Self`, which lives until the work item has been cancelled.
        unsafe {
            let work = container_of!(work, bindings::delayed_work, work);
            &*container_of!(Opaque::cast_from(work), Self, work)
        }
        .unregister();
    }

    /// # Safety
    ///
    /// Called by ftrace only, at the entry of `inet_select_addr`, before its first instruction.
    unsafe extern "C" fn enter(
        _: c_ulong,
        caller: c_ulong,
        ops: *mut bindings::ftrace_ops,
        regs: *mut bindings::ftrace_regs,
    ) {
        // SAFETY: `ops` is the field of a registered `Self`, which stays alive until it has been unregistered.
        let this = unsafe { &*container_of!(Opaque::cast_from(ops), Self, ops) };
        // The module's own calls go to the original.
        if !this.text.contains(&caller) {
            // SAFETY: The replacement has the signature of the original, and its code stays until `unregister` has
            // waited for all tasks in it.
            unsafe {
                bindings::ftrace_regs_set_instruction_pointer(
                    regs,
                    Self::replacement as *const () as c_ulong,
                )
            };
        }
    }

    /// # Safety
    ///
    /// The same as for `inet_select_addr`: `dev` must be a live device.
    unsafe extern "C" fn replacement(
        dev: *const bindings::net_device,
        dst: bindings::__be32,
        scope: c_int,
    ) -> bindings::__be32 {
        // SAFETY: The caller passes a live device.
        let dev = unsafe { NetDevice::from_raw(dev) };
        let dst = Ipv4Addr::from_bits(u32::from_be(dst));
        T::select(dev, dst, scope as u8).to_bits().to_be()
    }
}

#[pinned_drop]
impl<T: SelectAddr> PinnedDrop for Redirect<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The work item is initialised. Nobody else can schedule it any more.
        unsafe { bindings::cancel_delayed_work_sync(self.work.get()) };
        self.unregister();
    }
}
