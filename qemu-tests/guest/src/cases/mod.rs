// SPDX-License-Identifier: GPL-2.0

//! The cases, by topic. The numbers in their names are the rows of `Documentation/semantics.md`.

mod announce;
mod beside;
mod churn;
mod default;
mod devices;
mod faults;
mod gap;
mod hear;
mod hear_devices;
mod hear_routes;
mod hostile_devices;
mod hostile_frames;
mod hostile_knobs;
mod knobs;
mod last;
mod module;
mod random;
mod scale;
mod see_counts;
mod see_log;
mod see_table;
mod see_trace;
mod select;
mod traps;

use crate::lab::case::Case;

/// Iterates over all cases, in the order in which they run.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    let files = [
        hear::CASES,
        hear_routes::CASES,
        hear_devices::CASES,
        beside::CASES,
        announce::CASES,
        select::CASES,
        default::CASES,
        knobs::CASES,
        devices::CASES,
        module::CASES,
        gap::CASES,
        traps::CASES,
        see_table::CASES,
        see_counts::CASES,
        see_trace::CASES,
        see_log::CASES,
        random::CASES,
        faults::CASES,
        hostile_frames::CASES,
        hostile_devices::CASES,
        hostile_knobs::CASES,
        churn::CASES,
        scale::CASES,
        last::CASES,
    ];
    files.into_iter().flatten()
}
