// SPDX-License-Identifier: GPL-2.0

//! Integer files in `/proc/sys/net`, per network namespace.
//!
//! C header: [`include/linux/sysctl.h`](srctree/include/linux/sysctl.h)

use super::{bindings, net::Net};
use core::ptr;
use kernel::{
    ffi::{c_int, c_void},
    prelude::*,
    str::CStr, //
};

/// A file with an integer of a namespace.
///
/// Files of the same name can be in several directories. `target` tells them apart: it is what was passed to
/// [`Files::register`].
pub(crate) trait IntFile: 'static {
    /// Its name.
    const NAME: &'static CStr;
    /// The largest value it accepts; the smallest is 0. Writing any other value fails with EINVAL.
    const MAX: i32;

    /// Returns the value. In process context.
    fn get(net: &Net, target: i32) -> i32;

    /// Called with a written value. In process context. May sleep, but must not wait for the RTNL.
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
    /// Creates the entry for a file.
    pub(crate) const fn new<F: IntFile>() -> Self {
        Self {
            name: F::NAME,
            handler: handle::<F>,
        }
    }
}

/// Registered files of one directory. Dropping it removes them and waits for reads and writes in progress. Sleeps.
///
/// # Invariants
///
/// `header` is what registering `_tables` returned.
pub(crate) struct Files {
    header: *mut bindings::ctl_table_header,
    _tables: KVec<bindings::ctl_table>,
}

// SAFETY: The header is only passed to `unregister_net_sysctl_table`, which any thread may call. The kernel only reads
// the tables.
unsafe impl Send for Files {}
// SAFETY: A shared reference gives access to nothing.
unsafe impl Sync for Files {}

impl Files {
    /// Registers `entries` in `/proc/sys/<directory>` of `net`, with the permissions of the namespace's other files.
    /// `net` must outlive them. Sleeps.
    pub(crate) fn register(
        net: &Net,
        directory: &CStr,
        entries: &[Entry],
        target: i32,
    ) -> Result<Self> {
        // Kernels before 6.6 expect an empty entry at the end.
        let mut tables = KVec::with_capacity(entries.len() + 1, GFP_KERNEL)?;
        for entry in entries {
            let mut table = bindings::ctl_table {
                procname: entry.name.as_char_ptr(),
                maxlen: size_of::<c_int>() as c_int,
                mode: 0o644,
                // As in the kernel's own conf files: what the directory is for, and the namespace.
                extra1: ptr::without_provenance_mut(target as usize),
                extra2: net.as_ptr().cast(),
                ..Default::default()
            };
            // SAFETY: `table` is valid for writing.
            unsafe { bindings::ctl_table_set_handler(&mut table, Some(entry.handler)) };
            tables.push_within_capacity(table)?;
        }
        tables.push_within_capacity(bindings::ctl_table::default())?;
        // SAFETY: The tables do not move until they are unregistered, the names are static, and the kernel copies the
        // path.
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
        // INVARIANT: Registered above.
        Ok(Self {
            header,
            _tables: tables,
        })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the tables are registered under `header`.
        unsafe { bindings::unregister_net_sysctl_table(self.header) };
    }
}

/// # Safety
///
/// Called only by the sysctl core, for a table of [`Files::register`], with a valid buffer, length and position.
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
    // An empty write leaves the sentinel in place.
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
    // SAFETY: `number` describes local variables. The other arguments come from the sysctl core.
    let error = unsafe { bindings::proc_dointvec_minmax(&raw mut number, write, buffer, len, pos) };
    if error != 0 || write == 0 || value == NOTHING {
        return error;
    }
    match F::set(net, target, value) {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}
