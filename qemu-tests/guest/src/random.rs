// SPDX-License-Identifier: GPL-2.0

//! A host and the reference model: does random operations on both, and compares what probes see on the host with what they
//! must see according to the model.

mod look;
mod network;
mod tally;

use crate::{
    lab::{
        inheritance::{inherit, Inherit},
        processors::OneProcessor,
        Lab,
    },
    machine,
};
use anyhow::Result;
use model::{shrink, Generator, Operation, Step};
use network::{Difference, Network};
use std::{
    fs,
    time::{Duration, Instant}, //
};
use tally::Tally;

/// The number of operations of a seed.
pub(crate) const OPERATIONS: usize = 240;
/// The number of them on the same host. A failing sequence has at most this length before it is shrunk.
const EPISODE: usize = 60;
/// How long to shrink a failing sequence: less than the runner's patience.
const SHRINKING: Duration = Duration::from_secs(100);

/// Runs the operations of a seed. Fails at the first difference.
pub(crate) fn compare(lab: &mut Lab, seed: u64) -> Result<()> {
    // Earlier cases may have written the first namespace's values.
    let _before = inherit(Inherit::Nothing)?;
    let _one_processor = OneProcessor::new()?;
    // The kernel must not drop neighbours for want of room.
    for (number, threshold) in [1, 2, 3].into_iter().zip([1 << 14, 1 << 15, 1 << 16]) {
        let file = format!("/proc/sys/net/ipv4/neigh/default/gc_thresh{number}");
        fs::write(file, threshold.to_string())?;
    }
    let renames = machine::renames_what_is_up()?;
    let mut tally = Tally::default();
    for episode in 0..(OPERATIONS / EPISODE) as u64 {
        let mut generator = Generator::new((seed << 16) | episode);
        let steps = (0..EPISODE).map(|_| generator.step());
        let steps: Vec<Step> = steps
            .filter(|step| renames || !matches!(step.operation, Operation::Rename(_)))
            .collect();
        if let Some((len, difference)) = replay(lab, &steps, &mut tally)? {
            let error = explain(lab, &steps[..len], &difference);
            lab.note = Some(tally.to_string());
            return Err(error);
        }
    }
    lab.note = Some(tally.to_string());
    Ok(())
}

/// Shrinks a failing sequence and describes the difference. Leaves the laboratory as the shortest sequence has left it, so
/// that the report lists what a person has to type.
fn explain(lab: &mut Lab, steps: &[Step], difference: &Difference) -> anyhow::Error {
    let deadline = Instant::now() + SHRINKING;
    let mut fails = |steps: &[Step]| {
        if Instant::now() > deadline {
            return None;
        }
        let failed = replay(lab, steps, &mut Tally::default()).ok()?;
        failed.map(|(len, _)| len)
    };
    let mut shortest = steps.to_vec();
    // In most cases, a single probe shows the difference.
    let mut alone = shortest.clone();
    alone.iter_mut().for_each(|step| step.probes.clear());
    if let (Some(last), Some(probe)) = (alone.last_mut(), difference.probe) {
        last.probes.push(probe);
    }
    if let Some(len) = fails(&alone) {
        shortest = alone[..len].to_vec();
    }
    shortest = shrink(shortest, &mut fails);
    let mut text = format!("operation {}: {difference}\n", steps.len());
    match replay(lab, &shortest, &mut Tally::default()) {
        Ok(Some((len, difference))) => {
            text += &format!("The shortest failing sequence has {len} operations, below. Then:\n");
            text += &difference.to_string();
        }
        Ok(None) => text += "It does not fail again.",
        Err(error) => text += &format!("The last attempt failed: {error:#}"),
    }
    anyhow::Error::msg(text)
}

/// Does the steps on a new host. Returns the first difference, and the number of steps up to it.
fn replay(lab: &mut Lab, steps: &[Step], tally: &mut Tally) -> Result<Option<(usize, Difference)>> {
    *lab = Lab::new();
    let mut network = Network::new(lab)?;
    for (at, step) in steps.iter().enumerate() {
        // In a shrunk sequence, an operation's device may be missing.
        if !network.model.can_try(&step.operation) {
            continue;
        }
        // An error is a difference too, and can be shrunk.
        let difference = network.step(lab, step, tally).unwrap_or_else(|error| {
            let text = format!("{error:#}");
            Some(Difference { probe: None, text })
        });
        if let Some(difference) = difference {
            return Ok(Some((at + 1, difference)));
        }
    }
    Ok(None)
}
