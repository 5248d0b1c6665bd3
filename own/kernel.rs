// SPDX-License-Identifier: GPL-2.0

//! The part of the `kernel` crate that the module uses, for a kernel that does not have it.
//!
//! The modules declared here without a body are the files of `rust/kernel/` of a newer kernel, unchanged; the makefile
//! links them beside this one. Only what belongs to files with many further needs is written out.

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

/// Of `sync.rs`, what waits for nothing.
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

/// Of `cpu.rs`, what is about no device.
pub mod cpu {
    /// Returns the number of possible CPUs.
    pub fn nr_cpu_ids() -> u32 {
        // SAFETY: No requirements.
        unsafe { bindings::nr_cpu_ids() }
    }
}

/// Of `page.rs`, what the allocators refer to.
pub mod page {
    use core::{
        marker::PhantomData,
        ptr::NonNull, //
    };

    /// The size of a page.
    pub const PAGE_SIZE: usize = bindings::PAGE_SIZE;

    /// A page of another owner.
    pub struct BorrowedPage<'a>(PhantomData<&'a bindings::page>);

    impl BorrowedPage<'_> {
        /// # Safety
        ///
        /// `page` must be valid for the lifetime.
        pub unsafe fn from_raw(_page: NonNull<bindings::page>) -> Self {
            Self(PhantomData)
        }
    }

    /// What consists of pages.
    pub trait AsPageIter {
        type Iter<'a>: Iterator<Item = BorrowedPage<'a>>
        where
            Self: 'a;

        fn page_iter(&mut self) -> Self::Iter<'_>;
    }
}

/// `prelude.rs` less what is not here.
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
    // objtool knows of BUG() that it does not return in some kernels only, and objects to what follows there, or to
    // nothing elsewhere. Of BUG_ON() none knows.
    // SAFETY: No requirements.
    unsafe { bindings::BUG_ON(true) };
    loop {}
}

/// Returns a pointer to the object of type `$Container` whose field `$field_ptr` points to.
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

/// Refuses to compile if the types differ. For [`container_of!`].
#[doc(hidden)]
pub fn assert_same_type<T>(_: T, _: T) {}
