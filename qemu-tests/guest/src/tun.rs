// SPDX-License-Identifier: GPL-2.0

//! A network device whose other end is a file: what a virtual machine or a VPN is, to the kernel. Unlike a raw
//! socket it can say of what pieces a packet is made, and be of any hardware type.

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

/// The file. The device goes when it is closed.
pub(crate) struct Tun(File);

impl Tun {
    /// Makes an Ethernet device, which takes a packet in the pieces in which it is written.
    pub(crate) fn ethernet_in_pieces(name: &str) -> Result<Self> {
        Self::open(
            name,
            libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_NAPI | libc::IFF_NAPI_FRAGS,
        )
    }

    /// Makes a device of a hardware type (`ARPHRD_*`), without a link-layer header: a packet begins with two bytes
    /// of nothing and its EtherType.
    pub(crate) fn of_type(name: &str, hardware: i32) -> Result<Self> {
        let tun = Self::open(name, libc::IFF_TUN)?;
        // SAFETY: The descriptor is a tun device's, and the argument is no pointer.
        unsafe { set_link_type(tun.0.as_raw_fd(), hardware) }.context("TUNSETLINK")?;
        Ok(tun)
    }

    fn open(name: &str, flags: i32) -> Result<Self> {
        // Where there is a udev, it knows by modules.devname that the file comes with the module.
        machine::shell("modprobe -q tun")?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open("/dev/net/tun")
            .context("/dev/net/tun")?;
        // SAFETY: Zeroes are a valid `ifreq`.
        let mut request: libc::ifreq = unsafe { mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        // SAFETY: The descriptor is a tun device's, the request a valid `ifreq`.
        unsafe { set_interface(file.as_raw_fd(), &request) }.context("TUNSETIFF")?;
        Ok(Self(file))
    }

    /// Lets the kernel receive a packet that is made of these pieces.
    pub(crate) fn send(&mut self, pieces: &[&[u8]]) -> Result<()> {
        let pieces: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        self.0
            .write_vectored(&pieces)
            .context("the device does not take a packet")?;
        Ok(())
    }

    /// The next packet that the kernel sent; `None` if none comes within that many milliseconds.
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
