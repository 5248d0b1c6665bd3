// SPDX-License-Identifier: GPL-2.0

//! The module's messages in the kernel log.

use crate::machine;
use anyhow::Result;
use std::fs;

/// A position in the log.
pub(crate) struct Mark(String);

/// Writes a unique text to the log, which marks the current position.
pub(crate) fn mark(text: &str) -> Result<Mark> {
    fs::write("/dev/kmsg", text)?;
    Ok(Mark(text.to_owned()))
}

/// Returns the module's messages since the mark.
pub(crate) fn said(mark: &Mark) -> Result<Vec<String>> {
    let (_, log) = machine::shell("dmesg")?;
    let since = log.lines().skip_while(|line| !line.ends_with(&mark.0));
    let ours = since.filter_map(|line| line.split_once("arp_hidden: "));
    Ok(ours.map(|(_, text)| text.to_owned()).collect())
}
