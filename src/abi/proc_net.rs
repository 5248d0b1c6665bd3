// SPDX-License-Identifier: GPL-2.0

//! Files of `/proc/net`, one in each network namespace, with a line for each device.
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
/// A reader that comes back for more goes on behind the last index that it saw, as in `/proc/net/dev`: devices
/// that come and go meanwhile make it neither miss nor repeat one that stays.
pub(crate) trait DeviceTable: 'static {
    /// The name.
    const NAME: &'static CStr;

    /// Writes the heading. In process context, under RCU.
    fn heading(out: &SeqFile);

    /// Writes the line of a device of `net`, or nothing. In process context, under RCU.
    fn device(net: &Net, dev: &NetDevice, out: &SeqFile, rcu: &rcu::Guard);
}

/// A registered [`DeviceTable`]. The drop removes it and waits for those who read it. Sleeps.
///
/// # Invariants
///
/// The file `T::NAME` is in the folder `proc_net` and was made for this value.
pub(crate) struct File<T: DeviceTable> {
    proc_net: *mut bindings::proc_dir_entry,
    _table: PhantomData<fn() -> T>,
}

// SAFETY: The folder is for `remove_proc_entry` only, which any thread may call.
unsafe impl<T: DeviceTable> Send for File<T> {}
// SAFETY: As above; there is nothing to do with a shared reference.
unsafe impl<T: DeviceTable> Sync for File<T> {}

impl<T: DeviceTable> File<T> {
    const OPS: bindings::seq_operations = bindings::seq_operations {
        start: Some(Self::start),
        stop: Some(Self::stop),
        next: Some(Self::next),
        show: Some(Self::show),
    };

    /// Makes the file appear in `/proc/net` of `net`, which must be alive until it is dropped, with the mode
    /// of `/proc/net/arp`: readable by all who can look there. Sleeps.
    pub(crate) fn register(net: &Net) -> Result<Self> {
        // SAFETY: The namespace is alive, and has had its folder since before anyone could ask.
        let proc_net = unsafe { (*net.as_ptr()).proc_net };
        // SAFETY: The folder is valid; name and operations are static. The private state is what the
        // functions of `seq_file_net` need, and nothing more.
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
        // INVARIANT: Made above.
        Ok(Self {
            proc_net,
            _table: PhantomData,
        })
    }

    /// The first device with an index that is not less than `*pos`, which becomes its index.
    ///
    /// # Safety
    ///
    /// `seq` must be an open file of this kind, `pos` valid, and RCU held for as long as the result is used.
    unsafe fn at_or_behind(
        seq: *mut bindings::seq_file,
        pos: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: As the caller promises; an open file has its namespace alive.
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
        // SAFETY: No requirements; `stop` unlocks.
        unsafe { kernel::bindings::rcu_read_lock() };
        // SAFETY: seq_file gives valid pointers. Position 0 is the heading, as no device has that index.
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
        // SAFETY: seq_file gives valid pointers; RCU is held since `start`.
        unsafe {
            *pos += 1;
            Self::at_or_behind(seq, pos)
        }
    }

    /// # Safety
    ///
    /// Called by seq_file only, after `start`.
    unsafe extern "C" fn stop(_: *mut bindings::seq_file, _: *mut c_void) {
        // SAFETY: `start` has locked.
        unsafe { kernel::bindings::rcu_read_unlock() };
    }

    /// # Safety
    ///
    /// Called by seq_file only, between `start` and `stop`, with what `start` or `next` returned.
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, at: *mut c_void) -> c_int {
        // SAFETY: seq_file has the file to itself during the call.
        let out = unsafe { SeqFile::from_raw(seq.cast()) };
        // SAFETY: No requirements.
        if at == unsafe { bindings::seq_start_token() } {
            T::heading(out);
        } else {
            // SAFETY: The namespace of an open file is alive, and a device found under RCU is so while RCU
            // is held.
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
        // SAFETY: By the type invariants.
        unsafe { bindings::remove_proc_entry(T::NAME.as_char_ptr(), self.proc_net) };
    }
}
