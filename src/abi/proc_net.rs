// SPDX-License-Identifier: GPL-2.0

//! Files in `/proc/net`, one in each network namespace, with a line for each device.
//!
//! C headers: [`include/linux/proc_fs.h`](srctree/include/linux/proc_fs.h),
//! [`include/linux/seq_file_net.h`](srctree/include/linux/seq_file_net.h)

use super::{
    bindings,
    net::Net,
    netdevice::NetDevice, //
};
use core::{marker::PhantomData, ptr};
use kernel::{
    ffi::{c_int, c_uint, c_ulong, c_void},
    prelude::*,
    seq_file::SeqFile,
    str::CStr,
    sync::rcu, //
};

/// A file with a heading and a line for each device of its namespace, in the order of the interface indexes.
///
/// A reader continues after the last index it saw, as in `/proc/net/dev`. It neither misses nor repeats a device that
/// stays while others come and go.
pub(crate) trait DeviceTable: 'static {
    /// The name.
    const NAME: &'static CStr;

    /// Writes the heading. In process context, under RCU.
    fn heading(out: &SeqFile);

    /// Writes the line of a device of `net`, or nothing. In process context, under RCU.
    fn device(net: &Net, dev: &NetDevice, out: &SeqFile, rcu: &rcu::Guard);
}

/// A registered [`DeviceTable`]. Dropping it removes the file and waits for its readers. Sleeps.
///
/// # Invariants
///
/// The directory `proc_net` has the file `T::NAME`, which was created for this value.
pub(crate) struct File<T: DeviceTable> {
    proc_net: *mut bindings::proc_dir_entry,
    _table: PhantomData<fn() -> T>,
}

// SAFETY: The directory is only passed to `remove_proc_entry`, which any thread may call.
unsafe impl<T: DeviceTable> Send for File<T> {}
// SAFETY: A shared reference gives access to nothing.
unsafe impl<T: DeviceTable> Sync for File<T> {}

impl<T: DeviceTable> File<T> {
    const OPS: bindings::seq_operations = bindings::seq_operations {
        start: Some(Self::start),
        stop: Some(Self::stop),
        next: Some(Self::next),
        show: Some(Self::show),
    };

    /// Creates the file in `/proc/net` of `net`, readable by all, as `/proc/net/arp` is. `net` must outlive it. Sleeps.
    pub(crate) fn register(net: &Net) -> Result<Self> {
        // SAFETY: The namespace is alive, and gets its directory before any state of this module.
        let proc_net = unsafe { (*net.as_ptr()).proc_net };
        // SAFETY: The directory is valid; name and operations are static. The size is that of the private state that
        // `seq_file_net` needs.
        let entry = unsafe {
            bindings::proc_create_net_data(
                T::NAME.as_char_ptr(),
                0o444,
                proc_net,
                &Self::OPS,
                size_of::<bindings::seq_net_private>() as c_uint,
                ptr::null_mut(),
            )
        };
        if entry.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: Created above.
        Ok(Self {
            proc_net,
            _table: PhantomData,
        })
    }

    /// Returns the first device with an index of at least `*pos`, and sets `*pos` to that index.
    ///
    /// # Safety
    ///
    /// `seq` must be an open file of this kind, `pos` valid, and RCU held for as long as the result is used.
    unsafe fn at_or_behind(
        seq: *mut bindings::seq_file,
        pos: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: The caller promises valid pointers and RCU. An open file keeps its namespace alive.
        unsafe {
            let net = bindings::seq_file_net(seq);
            let mut ifindex = *pos as c_ulong;
            let dev = bindings::netdev_from_index(net, &mut ifindex);
            if !dev.is_null() {
                *pos = ifindex as bindings::loff_t;
            }
            dev.cast()
        }
    }

    /// # Safety
    ///
    /// Called by seq_file only, which calls `stop` after this, whatever this returns.
    unsafe extern "C" fn start(
        seq: *mut bindings::seq_file,
        pos: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: seq_file calls `stop` after this, which unlocks.
        unsafe { kernel::bindings::rcu_read_lock() };
        // SAFETY: seq_file passes valid pointers, and RCU is held. Position 0 is the heading, as no device has index 0.
        unsafe {
            if *pos == 0 {
                bindings::seq_start_token()
            } else {
                Self::at_or_behind(seq, pos)
            }
        }
    }

    /// # Safety
    ///
    /// Called by seq_file only, between `start` and `stop`.
    unsafe extern "C" fn next(
        seq: *mut bindings::seq_file,
        _: *mut c_void,
        pos: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: seq_file passes valid pointers. RCU is held since `start`.
        unsafe {
            *pos += 1;
            Self::at_or_behind(seq, pos)
        }
    }

    /// # Safety
    ///
    /// Called by seq_file only, after `start`.
    unsafe extern "C" fn stop(_: *mut bindings::seq_file, _: *mut c_void) {
        // SAFETY: `start` has locked RCU.
        unsafe { kernel::bindings::rcu_read_unlock() };
    }

    /// # Safety
    ///
    /// Called by seq_file only, between `start` and `stop`, with what `start` or `next` returned.
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, at: *mut c_void) -> c_int {
        // SAFETY: seq_file passes a valid file, which nobody else uses during the call.
        let out = unsafe { SeqFile::from_raw(seq.cast()) };
        // SAFETY: No requirements.
        if at == unsafe { bindings::seq_start_token() } {
            T::heading(out);
        } else {
            // SAFETY: An open file keeps its namespace alive. `start` or `next` found the device under RCU, which is
            // held until `stop`.
            let (net, dev) = unsafe {
                (
                    Net::from_raw(bindings::seq_file_net(seq)),
                    NetDevice::from_raw(at.cast_const().cast()),
                )
            };
            T::device(net, dev, out, &rcu::read_lock());
        }
        0
    }
}

impl<T: DeviceTable> Drop for File<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the directory has the file.
        unsafe { bindings::remove_proc_entry(T::NAME.as_char_ptr(), self.proc_net) };
    }
}
