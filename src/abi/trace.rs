// SPDX-License-Identifier: GPL-2.0

//! The tracepoints `arp_hidden:*`, which `src/helpers/trace.h` defines.
//!
//! `kernel::declare_trace!` looks for tracepoints in the kernel's own bindings, and its static branch needs a file that
//! no headers package contains. So a C function reads the static key: while tracing is off, an event costs a call, a
//! no-op and a return.
//!
//! Events can be traced in any context but NMI. RCU must be held, because devices' names are read.
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

/// `arp_hidden:request_unanswered`: a request gets no reply.
pub(crate) struct RequestUnanswered<'a> {
    /// The device that received the request.
    pub(crate) dev: &'a NetDevice,
    /// The kind of request.
    pub(crate) kind: &'a CStr,
    /// The sender's hardware address.
    pub(crate) sha: &'a [u8],
    /// The sender's protocol address.
    pub(crate) sip: Ipv4Addr,
    /// The requested address.
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
            // SAFETY: The devices are alive, the string is NUL-terminated, and the hardware address has the given
            // length. All of it is copied.
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
    /// The requested address.
    pub(crate) tip: Ipv4Addr,
    /// The sender address that was withheld.
    pub(crate) sip: Ipv4Addr,
    /// The sender address in its place.
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

/// `arp_hidden:source_redirected`: source address selection skips a hidden device and has another result.
pub(crate) struct SourceRedirected<'a> {
    /// The device that packets leave by.
    pub(crate) dev: &'a NetDevice,
    /// Their destination; unspecified if the caller did not give one.
    pub(crate) dst: Ipv4Addr,
    /// The widest scope (`enum rt_scope_t`) that the source may have.
    pub(crate) scope: u8,
    /// The source address that the kernel would have used.
    pub(crate) saddr: Ipv4Addr,
    /// The source address in its place.
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
