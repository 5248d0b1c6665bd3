// SPDX-License-Identifier: GPL-2.0

//! Integer files below `/proc/sys/net`, per network namespace.
//!
//! C header: [`include/linux/sysctl.h`](srctree/include/linux/sysctl.h)

use super::{bindings, net::Net};
use core::ptr;
use kernel::{
    ffi::{c_int, c_void},
    prelude::*,
    str::CStr, //
};

/// A file that holds an integer of a namespace.
///
/// Files of the same name stand in several directories; `target` is what the directory stands for, as it was
/// given to [`Files::register`].
pub(crate) trait IntFile: 'static {
    /// The name.
    const NAME: &'static CStr;
    /// The largest value that it takes, the smallest is 0; any other is EINVAL.
    const MAX: i32;

    /// The value. In process context.
    fn get(net: &Net, target: i32) -> i32;

    /// A value has been written. In process context; may sleep, but may not wait for the RTNL.
    fn set(net: &Net, target: i32, value: i32) -> Result;
}

/// An entry of a directory.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    name: &'static CStr,
    handler: Handler,
}

type Handler = unsafe extern "C" fn(
    *const bindings::ctl_table,
    c_int,
    *mut c_void,
    *mut usize,
    *mut bindings::loff_t,
) -> c_int;

impl Entry {
    /// The entry for a file.
    pub(crate) const fn new<F: IntFile>() -> Self {
        Self {
            name: F::NAME,
            handler: handle::<F>,
        }
    }
}

/// Registered files of one directory. The drop removes them and waits for those who are in them. Sleeps.
///
/// # Invariants
///
/// `header` is what the registration of `tables` gave.
pub(crate) struct Files {
    header: *mut bindings::ctl_table_header,
    _tables: KVec<bindings::ctl_table>,
}

// SAFETY: The header is for `unregister_net_sysctl_table` only, which any thread may call; the tables are the
// kernel's, read-only.
unsafe impl Send for Files {}
// SAFETY: As above; there is nothing to do with a shared reference.
unsafe impl Sync for Files {}

impl Files {
    /// Makes `entries` appear, writable for those who may write the namespace's other files, in
    /// `/proc/sys/<directory>` of `net`, which must be alive until they are dropped. Sleeps.
    pub(crate) fn register(
        net: &Net,
        directory: &CStr,
        entries: &[Entry],
        target: i32,
    ) -> Result<Self> {
        // Kernels before 6.6 look for an empty entry at the end.
        let mut tables = KVec::with_capacity(entries.len() + 1, GFP_KERNEL)?;
        for entry in entries {
            let mut table = bindings::ctl_table {
                procname: entry.name.as_char_ptr(),
                maxlen: size_of::<c_int>() as c_int,
                mode: 0o644,
                // As the kernel's own conf files have it: what the directory stands for, and the namespace.
                extra1: ptr::without_provenance_mut(target as usize),
                extra2: net.as_ptr().cast(),
                ..Default::default()
            };
            // SAFETY: `table` is valid for writing.
            unsafe { bindings::ctl_table_set_handler(&mut table, Some(entry.handler)) };
            tables.push_within_capacity(table)?;
        }
        tables.push_within_capacity(bindings::ctl_table::default())?;
        // SAFETY: The tables stay where they are until they are unregistered, the names are static, and the
        // kernel copies the path.
        let header = unsafe {
            bindings::register_net_sysctl_sz(
                net.as_ptr(),
                directory.as_char_ptr(),
                tables.as_mut_ptr(),
                entries.len(),
            )
        };
        if header.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: registered above.
        Ok(Self {
            header,
            _tables: tables,
        })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::unregister_net_sysctl_table(self.header) };
    }
}

/// # Safety
///
/// Called by the sysctl core only, for a table that [`Files::register`] made, with its buffer and lengths.
unsafe extern "C" fn handle<F: IntFile>(
    table: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    len: *mut usize,
    pos: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: The table is valid, and `extra2` is a namespace that outlives it.
    let (net, target) = unsafe {
        (
            Net::from_raw((*table).extra2.cast()),
            (*table).extra1.addr() as i32,
        )
    };
    // A write that holds no number (an empty one) leaves what no number can be.
    const NOTHING: c_int = -1;
    let mut value = if write == 0 {
        F::get(net, target)
    } else {
        NOTHING
    };
    let (mut min, mut max) = (0, F::MAX);
    let mut number = bindings::ctl_table {
        data: ptr::from_mut(&mut value).cast(),
        maxlen: size_of::<c_int>() as c_int,
        mode: 0o644,
        extra1: ptr::from_mut(&mut min).cast(),
        extra2: ptr::from_mut(&mut max).cast(),
        ..Default::default()
    };
    // SAFETY: `number` describes local variables, the rest is what the core gave us.
    let error = unsafe { bindings::proc_dointvec_minmax(&mut number, write, buffer, len, pos) };
    if error != 0 || write == 0 || value == NOTHING {
        return error;
    }
    match F::set(net, target, value) {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}
