// SPDX-License-Identifier: GPL-2.0

//! Netfilter hooks on ARP.
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

/// Where on ARP's way a hook sits.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// Frames for this host, before `arp_process` (NF_ARP_IN); after all other hooks.
    InLast,
    /// Frames that the kernel's ARP sends (NF_ARP_OUT); before all other hooks.
    OutFirst,
}

/// What becomes of a frame.
pub(crate) enum Verdict {
    /// It goes on (NF_ACCEPT).
    Accept,
    /// It goes no further, for want of memory (NF_DROP).
    Drop,
    /// It goes no further, by intent: a request that stays unanswered.
    Unanswered,
}

/// A hook.
pub(crate) trait ArpHook: 'static {
    /// The state of a namespace that it works with.
    type State: PerNet;

    /// Where it sits.
    const PLACE: Place;

    /// Called for each frame, in softirq or process context. `dev` is the device that received or will send
    /// it.
    fn frame(
        state: &Self::State,
        net: &Net,
        dev: &NetDevice,
        frame: &mut Frame,
        rcu: &rcu::Guard,
    ) -> Verdict;
}

/// An ARP frame on its way (`struct sk_buff`), with its ARP header linear.
///
/// # Invariants
///
/// `skb` is valid, and nobody else changes it, for as long as the value lives; `at` is its ARP header.
pub(crate) struct Frame {
    skb: *mut bindings::sk_buff,
    at: *mut u8,
}

impl Frame {
    /// The ARP packet, as far as it is linear.
    #[inline]
    pub(crate) fn packet(&self) -> &[u8] {
        // SAFETY: The bytes are a part of the live buffer, which nobody changes.
        unsafe { slice::from_raw_parts(self.at, self.len()) }
    }

    /// The ARP packet for writing; an error if there is no memory for a copy of our own.
    pub(crate) fn packet_mut(&mut self) -> Result<&mut [u8]> {
        let len = self.len();
        // SAFETY: The frame is valid, and no pointer into it is held but `at`.
        let offset = unsafe { bindings::skb_network_offset(self.skb) };
        let end = c_uint::try_from(offset).unwrap_or(0) + len as c_uint;
        // SAFETY: As above; `end` is not beyond the linear part.
        to_result(unsafe { bindings::skb_ensure_writable(self.skb, end) })?;
        // SAFETY: The frame is valid.
        // INVARIANT: The header may have moved.
        self.at = unsafe { bindings::arp_hdr(self.skb) }.cast();
        // SAFETY: As in `packet`; the buffer is ours alone now.
        Ok(unsafe { slice::from_raw_parts_mut(self.at, len) })
    }

    /// Whether it came to the device's own hardware address (PACKET_HOST).
    pub(crate) fn is_unicast(&self) -> bool {
        // SAFETY: The frame is valid.
        u32::from(unsafe { bindings::skb_pkt_type(self.skb) }) == bindings::PACKET_HOST
    }

    /// How many bytes from `at` on are linear.
    #[inline]
    fn len(&self) -> usize {
        // SAFETY: The frame is valid.
        let (data, headlen) = unsafe {
            (
                (*self.skb).data,
                (*self.skb).len.wrapping_sub((*self.skb).data_len),
            )
        };
        // Frames that are sent begin with the header of the link layer.
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

// SAFETY: The operations are the kernel's while they are registered; nothing here touches them.
unsafe impl<T: ArpHook> Send for Hook<T> {}
// SAFETY: As above.
unsafe impl<T: ArpHook> Sync for Hook<T> {}

impl<T: ArpHook> Hook<T> {
    /// A hook that is not registered.
    ///
    /// It must be kept for a grace period after it was unregistered: lists of hooks (`nft list hooks`) are
    /// read under RCU.
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
                    // `priv_` follows when it is registered.
                    ..Default::default()
                };
                // SAFETY: `ops` is valid for writing.
                unsafe { ops.write(init) };
            }),
            registered: RtnlCell::new(false),
            _user: PhantomData,
        })
    }

    /// Registers it in a namespace. Sleeps. Nothing to do if it is registered.
    pub(crate) fn register(&self, net: &Net, rtnl: &mut Rtnl) -> Result {
        let registered = self.registered.get_mut(rtnl);
        if !*registered {
            let state = ptr::from_ref(T::State::of(net)).cast_mut();
            // SAFETY: The operations are initialised and pinned, and not registered, so nobody reads them.
            unsafe { (*self.ops.get()).priv_ = state.cast() };
            // SAFETY: As above.
            to_result(unsafe { bindings::nf_register_net_hook(net.as_ptr(), self.ops.get()) })?;
            *registered = true;
        }
        Ok(())
    }

    /// Takes it out of its namespace. Sleeps. Calls that have begun may outlast this, by a grace period at
    /// the most. Nothing to do if it is not registered.
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
    /// Called by netfilter only, at the place of `T::PLACE`, with what `register` gave it.
    unsafe extern "C" fn call(
        state: *mut c_void,
        skb: *mut bindings::sk_buff,
        place: *const bindings::nf_hook_state,
    ) -> c_uint {
        // SAFETY: The state outlives the hook by a grace period, as all that can be found in a namespace.
        // Netfilter describes the place validly, with the device of the direction, and calls under RCU.
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
        // SAFETY: Netfilter gives a valid frame.
        let at = unsafe {
            match T::PLACE {
                // What has been received begins with the ARP header.
                Place::InLast => (*skb).data,
                Place::OutFirst => bindings::arp_hdr(skb).cast(),
            }
        };
        // INVARIANT: Netfilter lets the hook, and nobody else, change the frame during the call.
        let mut frame = Frame { skb, at };
        match T::frame(state, net, dev, &mut frame, &rcu) {
            Verdict::Accept => bindings::NF_ACCEPT,
            Verdict::Drop => bindings::NF_DROP,
            // SAFETY: The frame is ours to free with the verdict that follows.
            Verdict::Unanswered => unsafe { bindings::arp_hidden_unanswered(skb) },
        }
    }
}
