// SPDX-License-Identifier: GPL-2.0

//! Compares a host with the reference model: all rows, in random situations. The seeds are fixed; `make soak` runs others.

use crate::{lab::case::Case, random::compare};

macro_rules! seeds {
    ($($name:ident: $seed:literal),* $(,)?) => {
        pub(crate) const CASES: &[Case] = &[
            $(Case { name: stringify!($name), run: |lab| compare(lab, $seed), alone: true }),*
        ];
    };
}

seeds![
    random_seed_1: 1,
    random_seed_2: 2,
    random_seed_3: 3,
    random_seed_4: 4,
    random_seed_5: 5,
    random_seed_6: 6,
    random_seed_7: 7,
    random_seed_8: 8,
    random_seed_9: 9,
    random_seed_10: 10,
];
