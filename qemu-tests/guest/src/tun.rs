// SPDX-License-Identifier: GPL-2.0

//! A network device whose other end is a file, as for a virtual machine or a VPN. Unlike a raw socket, it determines the
//! fragments of a packet's buffer, and can be of any hardware type.

use crate::machine;
use anyhow::{bail, Context, Result};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    ioctl_write_int_bad,
    ioctl_write_ptr_bad,
    libc,
    poll::{poll, PollFd, PollFlags, PollTimeout}, //
};
use std::{
    fs::{File, OpenOptions},
    io::{IoSlice, Read, Write},
    mem,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::OpenOptionsExt,
    },
};

ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, libc::ifreq);
ioctl_write_int_bad!(set_link_type, libc::TUNSETLINK);

/// The file. Closing it removes the device.
pub(crate) struct Tun(File);

impl Tun {
    /// Creates an Ethernet device. The buffer of a packet has the fragments with which it is written.
    pub(crate) fn ethernet_in_pieces(name: &str) -> Result<Self> {
        Self::open(
            name,
            libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_NAPI | libc::IFF_NAPI_FRAGS,
        )
    }

    /// Creates a device of a hardware type (`ARPHRD_*`) without a link-layer header. A packet begins with two zero bytes and
    /// its EtherType.
    pub(crate) fn of_type(name: &str, hardware: i32) -> Result<Self> {
        let tun = Self::open(name, libc::IFF_TUN)?;
        // SAFETY: The descriptor is that of a tun device, and the argument is an integer.
        unsafe { set_link_type(tun.0.as_raw_fd(), hardware) }.context("TUNSETLINK")?;
        Ok(tun)
    }

    fn open(name: &str, flags: i32) -> Result<Self> {
        // Without udev, nothing loads the module when the file is opened.
        machine::shell("modprobe -q tun")?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open("/dev/net/tun")
            .context("/dev/net/tun")?;
        // SAFETY: All zeroes are a valid `ifreq`.
        let mut request: libc::ifreq = unsafe { mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        // SAFETY: The descriptor is that of a tun device, and the pointer is to a valid `ifreq`.
        unsafe { set_interface(file.as_raw_fd(), &request) }.context("TUNSETIFF")?;
        Ok(Self(file))
    }

    /// Makes the kernel receive a packet with these fragments.
    pub(crate) fn send(&mut self, pieces: &[&[u8]]) -> Result<()> {
        let pieces: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        self.0
            .write_vectored(&pieces)
            .context("the device does not accept a packet")?;
        Ok(())
    }

    /// Returns the next packet that the kernel sends, or `None` if there is none within that many milliseconds.
    pub(crate) fn next(&mut self, milliseconds: u16) -> Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; 1 << 16];
        let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(milliseconds))? == 0 {
            return Ok(None);
        }
        match self.0.read(&mut bytes) {
            Ok(len) => {
                bytes.truncate(len);
                Ok(Some(bytes))
            }
            Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => Ok(None),
            Err(error) => bail!("cannot read from the device: {error}"),
        }
    }
}
