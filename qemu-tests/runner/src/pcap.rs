// SPDX-License-Identifier: GPL-2.0

//! Writes frames to a file that Wireshark opens.

use anyhow::Result;
use pcap_file::{
    pcapng::{
        blocks::{
            enhanced_packet::EnhancedPacketBlock,
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
        },
        PcapNgWriter,
    },
    DataLink,
};
use protocol::Frame;
use std::{borrow::Cow, fs, path::Path, time::Duration};

/// Writes frames as pcapng, with an interface for each wire.
pub(crate) fn write(path: &Path, frames: &[Frame]) -> Result<()> {
    let mut writer = PcapNgWriter::new(fs::File::create(path)?)?;
    let mut wires: Vec<&str> = Vec::new();
    for frame in frames {
        let wire = match wires.iter().position(|wire| *wire == frame.wire) {
            Some(known) => known,
            None => {
                writer.write_pcapng_block(InterfaceDescriptionBlock {
                    linktype: DataLink::ETHERNET,
                    snaplen: 0,
                    options: vec![InterfaceDescriptionOption::IfName(Cow::Borrowed(
                        &frame.wire,
                    ))],
                })?;
                wires.push(&frame.wire);
                wires.len() - 1
            }
        };
        writer.write_pcapng_block(EnhancedPacketBlock {
            interface_id: wire as u32,
            // The format's unit is a microsecond, but the crate assumes a nanosecond.
            timestamp: Duration::from_nanos(frame.microseconds),
            original_len: frame.bytes.len() as u32,
            data: Cow::Borrowed(&frame.bytes),
            options: Vec::new(),
        })?;
    }
    Ok(())
}
