// SPDX-License-Identifier: GPL-2.0

//! A host against the reference model: random operations on it, and after each what probes see, compared with
//! what the model says that they must see.

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

/// How many operations a seed makes.
pub(crate) const OPERATIONS: usize = 240;
/// How many of them are on the same host. A failing sequence is this long before it is shrunk.
const EPISODE: usize = 60;
/// How long a failing sequence may be tried to be shrunk: less than the runner's patience.
const SHRINKING: Duration = Duration::from_secs(100);

/// Compares as many operations as a seed makes.
pub(crate) fn compare(lab: &mut Lab, seed: u64) -> Result<()> {
    // Whatever earlier cases wrote.
    let _before = inherit(Inherit::Nothing)?;
    let _one_processor = OneProcessor::new()?;
    // Room for all neighbours: the kernel is not to forget any in between.
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

/// Shrinks a failing sequence and leaves the laboratory as the shortest one has left it: what was done in it
/// is what a person has to type.
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
    // Most often one probe shows it, and the others do not matter.
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
            text += &format!("The shortest sequence found has {len} operations: ");
            text += &format!("what was done, below, and then\n{difference}");
        }
        Ok(None) => text += "It does not happen again.",
        Err(error) => text += &format!("The last try ended by itself: {error:#}"),
    }
    anyhow::Error::msg(text)
}

/// Does the steps on a new host, up to the first difference: the number of steps done, and the difference.
fn replay(lab: &mut Lab, steps: &[Step], tally: &mut Tally) -> Result<Option<(usize, Difference)>> {
    *lab = Lab::new();
    let mut network = Network::new(lab)?;
    for (at, step) in steps.iter().enumerate() {
        // When others are left out, an operation may have lost its device.
        if !network.model.can_try(&step.operation) {
            continue;
        }
        // What cannot be understood is a difference too, and to be shrunk.
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
