// SPDX-License-Identifier: GPL-2.0

//! What the module says to the kernel log.

use crate::machine;
use anyhow::Result;
use std::fs;

/// A place in the log, from which on it is read.
pub(crate) struct Mark(String);

/// Marks the place that the log has come to, by a text that stands there once.
pub(crate) fn mark(text: &str) -> Result<Mark> {
    fs::write("/dev/kmsg", text)?;
    Ok(Mark(text.to_owned()))
}

/// What the module has said since the mark.
pub(crate) fn said(mark: &Mark) -> Result<Vec<String>> {
    let (_, log) = machine::shell("dmesg")?;
    let since = log.lines().skip_while(|line| !line.ends_with(&mark.0));
    let ours = since.filter_map(|line| line.split_once("arp_hidden: "));
    Ok(ours.map(|(_, text)| text.to_owned()).collect())
}
