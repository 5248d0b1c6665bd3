// SPDX-License-Identifier: GPL-2.0

//! The part of the `kernel` crate that the module uses, for a kernel that lacks the crate.
//!
//! Each module declared without a body is an unchanged file of a newer kernel's `rust/kernel/`; the makefile links these
//! beside this file. Written out here is only what belongs to files that depend on much more.

#![no_std]
#![feature(unsigned_is_multiple_of)]
#![feature(generic_arg_infer)]
#![feature(arbitrary_self_types)]
#![feature(derive_coerce_pointee)]
#![feature(used_with_arg)]
#![allow(missing_docs)]

extern crate self as kernel;

pub mod alloc;
pub mod build_assert;
pub mod error;
pub mod fmt;
pub mod init;
pub mod module;
pub mod module_param;
pub mod print;
pub mod ptr;
pub mod seq_file;
pub mod str;
pub mod types;

#[doc(hidden)]
pub use bindings;
pub use ffi;
pub use macros;
pub use module::{
    InPlaceModule,
    Module,
    ModuleMetadata,
    ThisModule, //
};

const __LOG_PREFIX: &[u8] = b"arp_hidden\0";

/// The part of `sync.rs` that never sleeps.
pub mod sync {
    mod arc;
    pub mod atomic;
    pub mod rcu;
    mod refcount;
    mod set_once;

    pub use arc::{
        Arc,
        ArcBorrow,
        UniqueArc, //
    };
    pub use refcount::Refcount;
    pub use set_once::SetOnce;
}

/// The part of `cpu.rs` that needs no device.
pub mod cpu {
    /// Returns the number of possible CPUs.
    pub fn nr_cpu_ids() -> u32 {
        // SAFETY: No requirements.
        unsafe { bindings::nr_cpu_ids() }
    }
}

/// The part of `page.rs` that the allocators refer to.
pub mod page {
    use core::{
        marker::PhantomData,
        ptr::NonNull, //
    };

    /// The size of a page.
    pub const PAGE_SIZE: usize = bindings::PAGE_SIZE;

    /// A page that something else owns.
    pub struct BorrowedPage<'a>(PhantomData<&'a bindings::page>);

    impl<'a> BorrowedPage<'a> {
        /// Borrows a page.
        ///
        /// # Safety
        ///
        /// `page` must be valid for `'a`.
        pub unsafe fn from_raw(_page: NonNull<bindings::page>) -> Self {
            Self(PhantomData)
        }
    }

    /// An allocation that consists of pages.
    pub trait AsPageIter {
        type Iter<'a>: Iterator<Item = BorrowedPage<'a>>
        where
            Self: 'a;

        fn page_iter(&mut self) -> Self::Iter<'_>;
    }
}

/// The part of `prelude.rs` that exists here.
pub mod prelude {
    pub use ::ffi::{
        c_char,
        c_int,
        c_long,
        c_uint,
        c_ulong,
        c_void,
        CStr, //
    };
    pub use core::{
        mem::{
            align_of,
            align_of_val,
            size_of,
            size_of_val, //
        },
        pin::Pin,
    };
    pub use macros::{
        export,
        fmt,
        module,
        vtable, //
    };
    pub use pin_init::{
        init,
        pin_data,
        pin_init,
        pinned_drop,
        InPlaceWrite,
        Init,
        PinInit,
        Zeroable, //
    };

    pub use super::{
        alloc::{
            flags::*,
            Box,
            KBox,
            KVBox,
            KVVec,
            KVec,
            VBox,
            VVec,
            Vec, //
        },
        build_assert::{
            build_assert,
            build_error,
            const_assert,
            static_assert, //
        },
        error::{
            code::*,
            Error,
            Result, //
        },
        init::InPlaceInit,
        pr_alert,
        pr_crit,
        pr_debug,
        pr_emerg,
        pr_err,
        pr_info,
        pr_notice,
        pr_warn,
        str::CStrExt as _,
        try_init,
        try_pin_init,
        ThisModule, //
    };
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    pr_emerg!("{}\n", info);
    // Not BUG(): newer objtools know that it does not return and reject code behind it, older ones do not and reject
    // its absence. To all of them BUG_ON() may return.
    // SAFETY: No requirements.
    unsafe { bindings::BUG_ON(true) };
    loop {}
}

/// Returns a pointer to the object whose field `$field_ptr` points to, as the kernel crate's macro of this name.
#[macro_export]
macro_rules! container_of {
    ($field_ptr:expr, $Container:ty, $($fields:tt)*) => {{
        let field_ptr = $field_ptr;
        let container_ptr = field_ptr
            .byte_sub(::core::mem::offset_of!($Container, $($fields)*))
            .cast::<$Container>();
        $crate::assert_same_type(field_ptr, (&raw const (*container_ptr).$($fields)*).cast_mut());
        container_ptr
    }}
}

/// Compiles only if both have the same type. For [`container_of!`].
#[doc(hidden)]
pub fn assert_same_type<T>(_: T, _: T) {}
