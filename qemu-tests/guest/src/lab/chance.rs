// SPDX-License-Identifier: GPL-2.0

//! Random choices.

use fastrand::Rng;

/// Returns a random item.
pub(crate) fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}
