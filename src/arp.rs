// SPDX-License-Identifier: GPL-2.0

//! Reads and writes the fields of ARP packets (RFC 826) that decisions need.
//!
//! No kernel types, so that the tests run on the host. Addresses are in host byte order.

/// The length of the fixed header, which the sender's hardware address follows.
const HEADER_LEN: usize = 8;
const OP: usize = 6;
const OP_REQUEST: [u8; 2] = [0, 1];

/// Whether a packet is a request.
#[inline]
pub(crate) fn is_request(bytes: &[u8]) -> bool {
    bytes.get(OP..OP + 2).is_some_and(|op| *op == OP_REQUEST)
}

/// An ARP packet for IPv4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Packet {
    /// Whether the operation is a request.
    pub(crate) is_request: bool,
    /// Sender protocol address.
    pub(crate) sip: u32,
    /// Target protocol address.
    pub(crate) tip: u32,
}

/// The offsets of the addresses in a packet.
///
/// They depend on the device: the kernel accepts only packets with the device's hardware address length, and IP over
/// IEEE 1394 (RFC 2734) has no target hardware address.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    sip: usize,
    tip: usize,
}

impl Layout {
    /// Returns the layout for hardware addresses of `addr_len` bytes.
    #[inline]
    pub(crate) fn new(addr_len: u8, has_target_hardware_address: bool) -> Layout {
        let addr_len = usize::from(addr_len);
        let sip = HEADER_LEN + addr_len;
        let tha_len = if has_target_hardware_address {
            addr_len
        } else {
            0
        };
        Layout {
            sip,
            tip: sip + 4 + tha_len,
        }
    }

    /// Reads a packet. Returns `None` if it is truncated.
    #[inline]
    pub(crate) fn read(self, bytes: &[u8]) -> Option<Packet> {
        // One check instead of three.
        let bytes = bytes.get(..self.tip + 4)?;
        Some(Packet {
            is_request: is_request(bytes),
            sip: address(bytes, self.sip)?,
            tip: address(bytes, self.tip)?,
        })
    }

    /// Returns the sender's hardware address, or nothing if the packet is truncated.
    pub(crate) fn sha(self, bytes: &[u8]) -> &[u8] {
        bytes.get(HEADER_LEN..self.sip).unwrap_or_default()
    }

    /// Returns the target's hardware address, or nothing if the packet is truncated or has none.
    pub(crate) fn tha(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.sip + 4..self.tip).unwrap_or_default()
    }

    /// Replaces the sender protocol address. Does nothing if the packet is truncated.
    pub(crate) fn write_sip(self, bytes: &mut [u8], sip: u32) {
        if let Some(field) = bytes.get_mut(self.sip..self.sip + 4) {
            field.copy_from_slice(&sip.to_be_bytes());
        }
    }
}

fn address(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// who-has 10.0.0.100 tell 10.0.0.2, on Ethernet.
    const REQUEST: [u8; 28] = [
        0, 1, 8, 0, 6, 4, 0, 1, // Ethernet, IPv4, 6, 4, request
        2, 0, 0, 0, 0, 2, 10, 0, 0, 2, // sender
        0, 0, 0, 0, 0, 0, 10, 0, 0, 100, // target
    ];

    #[test]
    fn reads_a_request() {
        let packet = Layout::new(6, true).read(&REQUEST).unwrap();
        assert!(packet.is_request);
        assert_eq!((packet.sip, packet.tip), (0x0a00_0002, 0x0a00_0064));
        assert_eq!(Layout::new(6, true).sha(&REQUEST), [2, 0, 0, 0, 0, 2]);
        assert_eq!(Layout::new(6, true).tha(&REQUEST), [0; 6]);
    }

    #[test]
    fn a_reply_is_no_request() {
        let mut reply = REQUEST;
        reply[7] = 2;
        assert!(!Layout::new(6, true).read(&reply).unwrap().is_request);
    }

    #[test]
    fn every_truncation_is_refused() {
        for len in 0..REQUEST.len() {
            assert_eq!(
                Layout::new(6, true).read(&REQUEST[..len]),
                None,
                "{len} bytes"
            );
        }
    }

    #[test]
    fn ieee1394_has_no_target_hardware_address() {
        let mut packet = [0u8; 8 + 16 + 4 + 4];
        packet[7] = 1;
        packet[24..28].copy_from_slice(&[10, 0, 0, 2]);
        packet[28..32].copy_from_slice(&[10, 0, 0, 100]);
        let packet = Layout::new(16, false).read(&packet).unwrap();
        assert_eq!((packet.sip, packet.tip), (0x0a00_0002, 0x0a00_0064));
        assert_eq!(Layout::new(16, false).tha(&[0; 32]), []);
    }

    #[test]
    fn writes_the_sender_and_nothing_else() {
        let mut packet = REQUEST;
        Layout::new(6, true).write_sip(&mut packet, 0);
        let mut expected = REQUEST;
        expected[14..18].fill(0);
        assert_eq!(packet, expected);
        Layout::new(6, true).write_sip(&mut packet[..17], 1);
        assert_eq!(packet, expected);
    }
}
