// SPDX-License-Identifier: GPL-2.0

//! What an operator does to thousands of addresses at once, without the module and with it.
//!
//! It is what other processors have a part in: the machine has several, and a clock. With and without take turns in
//! the same boot, and each pair gives a ratio.

use super::site::vip;
use crate::{
    lab::{
        batch::lines,
        clock::timed,
        module::{load, unload},
        Host, Lab, Way,
    },
    line::Line,
};
use anyhow::Result;
use protocol::{
    bench::{Batch, Doing},
    Report,
};
use std::{fs, thread, time::Duration};

const ADDRESSES: u32 = 10_000;
const FILE: &str = "/tmp/addresses";

/// Measures it, and reports each ratio.
pub(crate) fn run(quick: bool, line: &mut Line) -> Result<()> {
    let pairs = if quick { 3 } else { 9 };
    let mut lab = Lab::new();
    unload()?;
    let host = lab.host("host")?;
    fs::write(
        FILE,
        lines(1..=ADDRESSES, |n| {
            format!("addr add {}/32 dev vips", vip(n))
        }),
    )?;
    let mut taken = Vec::new();
    // The first pair only warms up.
    for pair in 0..=pairs {
        line.report(&Report::Note(format!(
            "{ADDRESSES} addresses, pair {pair} of {pairs}"
        )))?;
        let [without, hidden] = if pair % 2 == 0 {
            [false, true].map(|hidden| once(&host, hidden))
        } else {
            let [hidden, without] = [true, false].map(|hidden| once(&host, hidden));
            [without, hidden]
        };
        taken.push((without?, hidden?));
    }
    let taken = &taken[1..];
    for (at, doing) in Doing::ALL.into_iter().enumerate() {
        let of = |value: &dyn Fn(f64, f64) -> f64| {
            median(taken.iter().map(|(without, hidden)| {
                value(without[at].as_secs_f64(), hidden[at].as_secs_f64())
            }))
        };
        line.report(&Report::Batch(Batch {
            doing,
            addresses: ADDRESSES,
            processors: thread::available_parallelism()?.get() as u32,
            without_ms: of(&|without, _| (without * 1000.0).round()),
            hidden_ms: of(&|_, hidden| (hidden * 1000.0).round()),
            ratio: of(&|without, hidden| (hidden / without * 1000.0).round() / 1000.0),
        }))?;
    }
    Ok(())
}

/// How long each doing takes, in the order of [`Doing::ALL`].
fn once(host: &Host, hidden: bool) -> Result<[Duration; 3]> {
    host.ip("link add vips up type dummy")?;
    if hidden {
        load()?;
        host.conceal("vips", Way::Hidden)?;
    }
    let add = || host.ip(&format!("-batch {FILE}")).map(drop);
    let added = timed(add)?;
    let flushed = timed(|| host.ip("addr flush dev vips").map(drop))?;
    add()?;
    let deleted = timed(|| host.ip("link del vips").map(drop))?;
    unload()?;
    Ok([added, flushed, deleted])
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
