// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers of the C interfaces that the kernel crate lacks. All unsafe code of the module is here.
//!
//! Nothing here knows the rest of the module.

use core::borrow::Borrow;

pub(crate) mod fib;
pub(crate) mod ftrace;
pub(crate) mod inetaddr;
pub(crate) mod inetdevice;
pub(crate) mod net;
pub(crate) mod netdevice;
pub(crate) mod netfilter;
pub(crate) mod percpu;
pub(crate) mod proc_net;
pub(crate) mod rcu;
pub(crate) mod rcu_hash;
pub(crate) mod rtnl;
pub(crate) mod sysctl;
pub(crate) mod trace;

/// Returns the value of a module parameter. `ModuleParamAccess::value` returns the value since 7.3, and a reference to
/// it before that.
pub(crate) fn parameter<T: Copy>(value: impl Borrow<T>) -> T {
    *value.borrow()
}

/// What bindgen generates from `bindings.h` and the helpers.
#[allow(
    clippy::all,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
mod bindings {
    type __kernel_size_t = usize;
    type __kernel_ssize_t = isize;
    type __kernel_ptrdiff_t = isize;

    include!(env!("ARP_HIDDEN_BINDINGS"));
}
