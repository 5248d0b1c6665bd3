// SPDX-License-Identifier: GPL-2.0

//! Reads `/proc/net/arp_hidden`.

use crate::lab::Host;
use anyhow::{ensure, Context, Result};
use std::fs;

/// The file.
pub(crate) const TABLE: &str = "/proc/net/arp_hidden";
/// The words of its heading.
const HEADING: [&str; 12] = [
    "device",
    "hidden",
    "hidden_eff",
    "arp_invisible",
    "arp_inv_eff",
    "addresses",
    "broadcast",
    "unicast",
    "dad",
    "rewritten",
    "redirected",
    "note",
];

/// Returns the lines of a host's table, without the heading, each as words.
pub(crate) fn table(host: &Host) -> Result<Vec<Vec<String>>> {
    lines(&host.enter(|| fs::read_to_string(TABLE))??)
}

/// Parses the text of a table.
pub(crate) fn lines(text: &str) -> Result<Vec<Vec<String>>> {
    let mut lines = text.lines().map(|line| {
        line.split_ascii_whitespace()
            .map(str::to_owned)
            .collect::<Vec<String>>()
    });
    ensure!(lines.next().context("no heading")? == HEADING, "{text}");
    lines
        .map(|line| {
            ensure!(
                line.len() == HEADING.len(),
                "{} words in {text}",
                line.len()
            );
            Ok(line)
        })
        .collect()
}

/// Fails unless the table has these lines. Spaces between words do not matter.
pub(crate) fn shows(host: &Host, wanted: &[&str]) -> Result<()> {
    let table = table(host)?;
    let found: Vec<String> = table.iter().map(|line| line.join(" ")).collect();
    ensure!(found == wanted, "{found:#?}\nexpected:\n{wanted:#?}");
    Ok(())
}

/// Returns the five counters of a device.
pub(crate) fn counts(host: &Host, device: &str) -> Result<[u64; 5]> {
    let table = table(host)?;
    let line = table
        .iter()
        .find(|line| line[0] == device)
        .with_context(|| format!("no line for {device}"))?;
    let mut counts = [0; 5];
    for (count, word) in counts.iter_mut().zip(&line[6..11]) {
        *count = word.parse()?;
    }
    Ok(counts)
}
