// SPDX-License-Identifier: GPL-2.0

//! The cases, by what they are about; the numbers in their names are the rows of `Documentation/semantics.md`.

mod announce;
mod churn;
mod faults;
mod gap;
mod hear;
mod hostile;
mod knobs;
mod last;
mod module;
mod random;
mod see;
mod select;

use crate::lab::case::Case;

/// All cases, in the order in which they run.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    let files = [
        hear::CASES,
        announce::CASES,
        select::CASES,
        knobs::CASES,
        module::CASES,
        gap::CASES,
        see::CASES,
        random::CASES,
        faults::CASES,
        hostile::CASES,
        churn::CASES,
        last::CASES,
    ];
    files.into_iter().flatten()
}
