// SPDX-License-Identifier: GPL-2.0

//! The module's frame parser under libFuzzer: `make fuzz`. The first byte of the input is the length of the device's
//! hardware addresses, the second tells whether it has a target hardware address, and the rest is the packet.
//!
//! Overflows and out-of-bounds accesses end the run. The result is compared with that of a naive parser.

#![allow(dead_code)]

#[path = "../../src/arp.rs"]
mod arp;

use arp::{is_request, Layout};

/// Reads four bytes at `at`, one at a time.
fn field(packet: &[u8], at: usize) -> Option<u32> {
    let mut value = 0u32;
    for byte in packet.iter().skip(at).take(4) {
        value = value << 8 | u32::from(*byte);
    }
    (packet.len() >= at + 4).then_some(value)
}

/// # Safety
///
/// `data` must be valid for reading `len` bytes. libFuzzer guarantees that.
#[no_mangle]
unsafe extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, len: usize) -> i32 {
    if len == 0 {
        return 0;
    }
    // SAFETY: As the caller promises.
    let input = unsafe { std::slice::from_raw_parts(data, len) };
    let [addr_len, has_tha, packet @ ..] = input else {
        return 0;
    };
    let (len, has_tha) = (usize::from(*addr_len), has_tha % 2 == 1);
    let layout = Layout::new(*addr_len, has_tha);
    let (sip, tip) = (8 + len, 8 + len + 4 + if has_tha { len } else { 0 });
    let read = layout.read(packet);
    let expected = field(packet, tip).and_then(|tip| Some((field(packet, sip)?, tip)));
    assert_eq!(read.map(|read| (read.sip, read.tip)), expected);
    assert_eq!(is_request(packet), packet.len() >= 8 && packet[6] == 0 && packet[7] == 1);
    if let Some(read) = read {
        assert_eq!(read.is_request, is_request(packet));
        assert_eq!(layout.sha(packet), &packet[8..sip]);
    }
    // What is written is there, and nothing else has changed; what does not fit is not written.
    let mut written = packet.to_vec();
    layout.write_sip(&mut written, 0x0a0b_0c0d);
    let mut expected = packet.to_vec();
    if let Some(field) = expected.get_mut(sip..sip + 4) {
        field.copy_from_slice(&[10, 11, 12, 13]);
    }
    assert_eq!(written, expected);
    0
}
