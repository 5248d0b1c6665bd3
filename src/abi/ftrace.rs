// SPDX-License-Identifier: GPL-2.0

//! The redirection of `inet_select_addr`, by an IPMODIFY ftrace operation, as livepatch redirects functions.
//!
//! C header: [`include/linux/ftrace.h`](srctree/include/linux/ftrace.h)

use super::{bindings, netdevice::NetDevice};
use core::{marker::PhantomData, net::Ipv4Addr, ops::Range};
use kernel::{
    container_of,
    error::to_result,
    ffi::{c_int, c_ulong},
    prelude::*,
    types::Opaque, //
};

/// Calls the kernel's own `inet_select_addr`, past any redirection: an address for packets from `dev` to
/// `dst`, of a scope not wider than `scope`; unspecified if there is none. In any context.
pub(crate) fn inet_select_addr(dev: &NetDevice, dst: Ipv4Addr, scope: u8) -> Ipv4Addr {
    // SAFETY: The device is alive.
    let addr = unsafe {
        bindings::inet_select_addr(dev.as_ptr(), dst.to_bits().to_be(), c_int::from(scope))
    };
    Ipv4Addr::from_bits(u32::from_be(addr))
}

/// Where the module's code lies.
fn own_text() -> Range<usize> {
    // SAFETY: No requirements.
    let (start, len) = unsafe { (bindings::own_text_start(), bindings::own_text_size()) };
    start..start + len
}

/// What takes the place of `inet_select_addr` for its callers outside of this module.
pub(crate) trait SelectAddr: 'static {
    /// The function in its place. In any context that the kernel selects addresses in; may not sleep.
    fn select(dev: &NetDevice, dst: Ipv4Addr, scope: u8) -> Ipv4Addr;
}

/// The redirection, in force until it is dropped. Both sleep; the drop waits for all tasks to pass a point
/// where they cannot be in the redirected function, some tenths of a second.
#[pin_data(PinnedDrop)]
pub(crate) struct Redirect<T: SelectAddr> {
    #[pin]
    ops: Opaque<bindings::ftrace_ops>,
    /// The module's own code.
    text: Range<usize>,
    _user: PhantomData<fn() -> T>,
}

// SAFETY: The operations are the kernel's while they are registered; nothing here touches them.
unsafe impl<T: SelectAddr> Send for Redirect<T> {}
// SAFETY: As above.
unsafe impl<T: SelectAddr> Sync for Redirect<T> {}

impl<T: SelectAddr> Redirect<T> {
    /// Redirects. EBUSY: another user of ftrace holds the function (a live patch), or kernel.ftrace_enabled is
    /// 0; ENODEV: ftrace has failed.
    pub(crate) fn register() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            text: own_text(),
            ops <- Opaque::try_ffi_init(|ops: *mut bindings::ftrace_ops| {
                let init = bindings::ftrace_ops {
                    func: Some(Self::enter),
                    // PERMANENT: kernel.ftrace_enabled=0 is refused meanwhile, instead of disarming us.
                    flags: (bindings::FTRACE_OPS_FL_IPMODIFY | bindings::FTRACE_OPS_FL_PERMANENT)
                        as c_ulong,
                    ..Default::default()
                };
                // SAFETY: `ops` is valid for writing.
                unsafe { ops.write(init) };
                let function = bindings::inet_select_addr as *const () as c_ulong;
                // SAFETY: The operations are initialised and pinned.
                to_result(unsafe { bindings::ftrace_set_filter_ip(ops, function, 0, 0) })?;
                // SAFETY: As above; unregistered before they go.
                to_result(unsafe { bindings::register_ftrace_function(ops) }).inspect_err(|_| {
                    // SAFETY: Not registered, so only the filter is to be freed.
                    unsafe { bindings::ftrace_free_filter(ops) }
                })
            }),
            _user: PhantomData,
        }? Error)
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
        // SAFETY: The operations are those of a registered redirection.
        let this = unsafe { &*container_of!(Opaque::cast_from(ops), Self, ops) };
        // Our own calls are for the original.
        if !this.text.contains(&caller) {
            // SAFETY: The replacement has the same signature, and stays until `drop` has waited.
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
    /// As `inet_select_addr` in C.
    unsafe extern "C" fn replacement(
        dev: *const bindings::net_device,
        dst: bindings::__be32,
        scope: c_int,
    ) -> bindings::__be32 {
        // SAFETY: The caller gives a live device.
        let dev = unsafe { NetDevice::from_raw(dev) };
        let dst = Ipv4Addr::from_bits(u32::from_be(dst));
        T::select(dev, dst, scope as u8).to_bits().to_be()
    }
}

#[pinned_drop]
impl<T: SelectAddr> PinnedDrop for Redirect<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by `register`. This waits for tasks that were preempted in the trampoline or in
        // the replacement: neither sleeps.
        let error = unsafe { bindings::unregister_ftrace_function(self.ops.get()) };
        if error != 0 {
            pr_alert!(
                "cannot restore inet_select_addr ({error}): ftrace is broken, do not unload\n"
            );
        }
        // Idle tasks are not waited for; interrupts on top of them are read-side critical sections of RCU.
        // SAFETY: No requirements but a context that may sleep.
        unsafe { kernel::bindings::synchronize_rcu() };
        // SAFETY: Unregistered.
        unsafe { bindings::ftrace_free_filter(self.ops.get()) };
    }
}
