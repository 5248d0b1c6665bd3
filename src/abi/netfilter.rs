// SPDX-License-Identifier: GPL-2.0

//! Netfilter hooks for ARP.
//!
//! C header: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use super::{
    bindings,
    net::{Net, PerNet},
    netdevice::NetDevice,
    rcu::entered,
    rtnl::{Rtnl, RtnlCell}, //
};
use core::{marker::PhantomData, ptr, slice};
use kernel::{
    error::to_result,
    ffi::{c_int, c_uint, c_void},
    prelude::*,
    sync::rcu,
    types::Opaque, //
};

/// Where a hook is called.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// For frames to this host, before `arp_process` (NF_ARP_IN), after all other hooks.
    InLast,
    /// For frames that the kernel's ARP sends (NF_ARP_OUT), before all other hooks.
    OutFirst,
}

/// What to do with a frame.
pub(crate) enum Verdict {
    /// Let it pass (NF_ACCEPT).
    Accept,
    /// Drop it for lack of memory (NF_DROP).
    Drop,
    /// Drop it on purpose: the request gets no reply.
    Unanswered,
}

/// A hook.
pub(crate) trait ArpHook: 'static {
    /// The per-namespace state that it needs.
    type State: PerNet;

    /// Where it is called.
    const PLACE: Place;

    /// Called for each frame, in softirq or process context. `dev` is the device that received or will send it.
    fn frame(
        state: &Self::State,
        net: &Net,
        dev: &NetDevice,
        frame: &mut Frame,
        rcu: &rcu::Guard,
    ) -> Verdict;
}

/// An ARP frame being handled (`struct sk_buff`). Its ARP header is linear.
///
/// # Invariants
///
/// `skb` is valid and not changed by anyone else for as long as the value lives. `at` points to its ARP header.
pub(crate) struct Frame {
    skb: *mut bindings::sk_buff,
    at: *mut u8,
}

impl Frame {
    /// Returns the linear part of the ARP packet.
    #[inline]
    pub(crate) fn packet(&self) -> &[u8] {
        // SAFETY: By the type invariants, `at` points into the frame, of which `len` more bytes are linear and do not
        // change.
        unsafe { slice::from_raw_parts(self.at, self.len()) }
    }

    /// Returns the linear part of the ARP packet for writing. Fails with ENOMEM if the frame is shared and cannot be
    /// copied.
    pub(crate) fn packet_mut(&mut self) -> Result<&mut [u8]> {
        let len = self.len();
        // SAFETY: The frame is valid by the type invariants.
        let offset = unsafe { bindings::skb_network_offset(self.skb) };
        let end = c_uint::try_from(offset).unwrap_or(0) + len as c_uint;
        // SAFETY: The frame is valid by the type invariants, and `end` is within its linear part. The only pointer into
        // it, `at`, is updated below.
        to_result(unsafe { bindings::skb_ensure_writable(self.skb, end) })?;
        // INVARIANT: The header may have moved.
        // SAFETY: The frame is valid by the type invariants.
        self.at = unsafe { bindings::arp_hdr(self.skb) }.cast();
        // SAFETY: `at` points into the frame, of which `len` more bytes are linear. The buffer is not shared any more.
        Ok(unsafe { slice::from_raw_parts_mut(self.at, len) })
    }

    /// Whether it was sent to the device's own hardware address (PACKET_HOST).
    pub(crate) fn is_unicast(&self) -> bool {
        // SAFETY: The frame is valid.
        u32::from(unsafe { bindings::skb_pkt_type(self.skb) }) == bindings::PACKET_HOST
    }

    /// Returns the number of linear bytes from `at` on.
    #[inline]
    fn len(&self) -> usize {
        // SAFETY: The frame is valid.
        let (data, headlen) = unsafe {
            (
                (*self.skb).data,
                (*self.skb).len.wrapping_sub((*self.skb).data_len),
            )
        };
        // In frames to be sent, the link layer header comes before `at`.
        let end = data.addr().wrapping_add(headlen as usize);
        end.saturating_sub(self.at.addr())
    }
}

/// A hook that can be registered in one namespace.
///
/// # Invariants
///
/// While `registered`, `ops` is registered and not changed.
#[pin_data]
pub(crate) struct Hook<T: ArpHook> {
    #[pin]
    ops: Opaque<bindings::nf_hook_ops>,
    registered: RtnlCell<bool>,
    _user: PhantomData<fn() -> T>,
}

// SAFETY: While registered, only the kernel accesses the operations.
unsafe impl<T: ArpHook> Send for Hook<T> {}
// SAFETY: As above.
unsafe impl<T: ArpHook> Sync for Hook<T> {}

impl<T: ArpHook> Hook<T> {
    /// Creates an unregistered hook.
    ///
    /// It must outlive its unregistration by a grace period: `nft list hooks` reads it under RCU.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            ops <- Opaque::ffi_init(|ops: *mut bindings::nf_hook_ops| {
                let (hooknum, priority) = match T::PLACE {
                    Place::InLast => (bindings::NF_ARP_IN, c_int::MAX),
                    Place::OutFirst => (bindings::NF_ARP_OUT, c_int::MIN),
                };
                let init = bindings::nf_hook_ops {
                    hook: Some(Self::call),
                    pf: bindings::NFPROTO_ARP as u8,
                    hooknum,
                    priority,
                    // `register` sets `priv_`.
                    ..Default::default()
                };
                // SAFETY: `ops` is valid for writing.
                unsafe { ops.write(init) };
            }),
            registered: RtnlCell::new(false),
            _user: PhantomData,
        })
    }

    /// Registers the hook in a namespace. Does nothing if already registered. Sleeps.
    pub(crate) fn register(&self, net: &Net, rtnl: &mut Rtnl) -> Result {
        let registered = self.registered.get_mut(rtnl);
        if !*registered {
            let state = ptr::from_ref(T::State::of(net)).cast_mut();
            // SAFETY: The operations are initialised and not registered, so nobody else accesses them.
            unsafe { (*self.ops.get()).priv_ = state.cast() };
            // SAFETY: The operations are initialised, pinned, not registered, and unregistered before they are freed.
            to_result(unsafe { bindings::nf_register_net_hook(net.as_ptr(), self.ops.get()) })?;
            *registered = true;
        }
        Ok(())
    }

    /// Unregisters the hook. Does nothing if not registered. Calls that have begun may outlast this by at most a grace
    /// period. Sleeps.
    pub(crate) fn unregister(&self, net: &Net, rtnl: &mut Rtnl) {
        let registered = self.registered.get_mut(rtnl);
        if *registered {
            // SAFETY: The operations are registered.
            unsafe { bindings::nf_unregister_net_hook(net.as_ptr(), self.ops.get()) };
            *registered = false;
        }
    }

    /// # Safety
    ///
    /// Called only by netfilter, at `T::PLACE`, with the state that `register` passed.
    unsafe extern "C" fn call(
        state: *mut c_void,
        skb: *mut bindings::sk_buff,
        place: *const bindings::nf_hook_state,
    ) -> c_uint {
        // SAFETY: The state of a namespace outlives its hooks by a grace period. Netfilter passes a valid
        // `nf_hook_state` with the device of this direction, and calls under RCU.
        let (state, net, dev, rcu) = unsafe {
            let dev = match T::PLACE {
                Place::InLast => (*place).in_,
                Place::OutFirst => (*place).out,
            };
            (
                &*state.cast::<T::State>(),
                Net::from_raw((*place).net),
                NetDevice::from_raw(dev),
                entered(),
            )
        };
        // SAFETY: Netfilter passes a valid frame.
        let at = unsafe {
            match T::PLACE {
                // Received frames start at the ARP header.
                Place::InLast => (*skb).data,
                Place::OutFirst => bindings::arp_hdr(skb).cast(),
            }
        };
        // INVARIANT: During the call, only the hook may change the frame.
        let mut frame = Frame { skb, at };
        match T::frame(state, net, dev, &mut frame, &rcu) {
            Verdict::Accept => bindings::NF_ACCEPT,
            Verdict::Drop => bindings::NF_DROP,
            // SAFETY: The verdict that the function returns, NF_STOLEN, hands the frame over to it.
            Verdict::Unanswered => unsafe { bindings::arp_hidden_unanswered(skb) },
        }
    }
}
