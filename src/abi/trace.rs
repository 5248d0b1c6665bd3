// SPDX-License-Identifier: GPL-2.0

//! The tracepoints `arp_hidden:*`, which `src/helpers/trace.h` defines.
//!
//! `kernel::declare_trace!` looks for a tracepoint in the kernel's own bindings, and its static branch needs a
//! file that no headers package has. So the static key is read by a C function: where tracing is off, an event
//! costs a call, a no-op and a return.
//!
//! Events can be traced in any context but NMI, under RCU, as the devices' names are read.
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)

use super::{bindings, netdevice::NetDevice};
use core::net::Ipv4Addr;
use kernel::{
    ffi::c_int,
    prelude::*,
    str::CStr,
    sync::rcu, //
};

fn be32(addr: Ipv4Addr) -> bindings::__be32 {
    addr.to_bits().to_be()
}

/// `arp_hidden:request_unanswered`: a request stays unanswered.
pub(crate) struct RequestUnanswered<'a> {
    /// The device that heard the request.
    pub(crate) dev: &'a NetDevice,
    /// What kind of request.
    pub(crate) kind: &'a CStr,
    /// The sender's hardware address.
    pub(crate) sha: &'a [u8],
    /// The sender's protocol address.
    pub(crate) sip: Ipv4Addr,
    /// The address that was asked for.
    pub(crate) tip: Ipv4Addr,
    /// The device that is concealed.
    pub(crate) owner: &'a NetDevice,
    /// `hidden` in force there.
    pub(crate) hidden: i32,
    /// `arp_invisible` in force there.
    pub(crate) arp_invisible: i32,
}

impl RequestUnanswered<'_> {
    /// Traces the event.
    pub(crate) fn trace(self, _: &rcu::Guard) {
        // SAFETY: No requirements.
        if unsafe { bindings::trace_request_unanswered_enabled() } {
            // SAFETY: The devices are alive, the string is terminated, the hardware address is no shorter
            // than is said; all is copied.
            unsafe {
                bindings::trace_request_unanswered(
                    self.dev.as_ptr(),
                    self.kind.as_char_ptr(),
                    self.sha.as_ptr(),
                    self.sha.len() as u8,
                    be32(self.sip),
                    be32(self.tip),
                    self.owner.as_ptr(),
                    self.hidden,
                    self.arp_invisible,
                );
            }
        }
    }
}

/// `arp_hidden:announcement_rewritten`: a neighbour solicitation goes out with another sender address.
pub(crate) struct AnnouncementRewritten<'a> {
    /// The device that sends the request.
    pub(crate) dev: &'a NetDevice,
    /// The address that it asks for.
    pub(crate) tip: Ipv4Addr,
    /// The sender address that was withheld.
    pub(crate) sip: Ipv4Addr,
    /// The one in its place.
    pub(crate) announced: Ipv4Addr,
    /// The device that is concealed.
    pub(crate) owner: &'a NetDevice,
    /// `hidden` in force there.
    pub(crate) hidden: i32,
    /// `arp_invisible` in force there.
    pub(crate) arp_invisible: i32,
}

impl AnnouncementRewritten<'_> {
    /// Traces the event.
    pub(crate) fn trace(self, _: &rcu::Guard) {
        // SAFETY: No requirements.
        if unsafe { bindings::trace_announcement_rewritten_enabled() } {
            // SAFETY: The devices are alive, and all is copied.
            unsafe {
                bindings::trace_announcement_rewritten(
                    self.dev.as_ptr(),
                    be32(self.tip),
                    be32(self.sip),
                    be32(self.announced),
                    self.owner.as_ptr(),
                    self.hidden,
                    self.arp_invisible,
                );
            }
        }
    }
}

/// `arp_hidden:source_redirected`: the selection of a source passes over a hidden device, and comes to another
/// result.
pub(crate) struct SourceRedirected<'a> {
    /// The device that packets are to leave by.
    pub(crate) dev: &'a NetDevice,
    /// Where they go; unspecified where the kernel does not say.
    pub(crate) dst: Ipv4Addr,
    /// The widest scope (`enum rt_scope_t`) that the source may have.
    pub(crate) scope: u8,
    /// The source that the kernel would have taken.
    pub(crate) saddr: Ipv4Addr,
    /// The one in its place.
    pub(crate) selected: Ipv4Addr,
    /// The device that is hidden.
    pub(crate) owner: &'a NetDevice,
    /// `hidden` in force there.
    pub(crate) hidden: i32,
}

impl SourceRedirected<'_> {
    /// Traces the event.
    pub(crate) fn trace(self, _: &rcu::Guard) {
        // SAFETY: No requirements.
        if unsafe { bindings::trace_source_redirected_enabled() } {
            // SAFETY: The devices are alive, and all is copied.
            unsafe {
                bindings::trace_source_redirected(
                    self.dev.as_ptr(),
                    be32(self.dst),
                    c_int::from(self.scope),
                    be32(self.saddr),
                    be32(self.selected),
                    self.owner.as_ptr(),
                    self.hidden,
                );
            }
        }
    }
}
