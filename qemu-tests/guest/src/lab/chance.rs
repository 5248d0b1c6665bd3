// SPDX-License-Identifier: GPL-2.0

//! Chance, from a seed.

use fastrand::Rng;

/// One of several.
pub(crate) fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}
