// SPDX-License-Identifier: GPL-2.0

//! A case.

use crate::lab::Lab;
use anyhow::Result;

/// A case: the story of a network, and what must hold in it.
pub(crate) struct Case {
    /// Its name, which begins with the row of the semantics.
    pub(crate) name: &'static str,
    /// The story.
    pub(crate) run: fn(&mut Lab) -> Result<()>,
    /// Whether it needs the machine to itself: it loads or unloads modules, changes something that all namespaces share, or
    /// reads something that others write.
    pub(crate) alone: bool,
}

/// Defines the cases of a file, by the names of their functions. `: alone` marks cases that need the machine to themselves.
macro_rules! cases {
    ($($name:ident $(: $alone:ident)?),* $(,)?) => {
        pub(crate) const CASES: &[$crate::lab::case::Case] = &[
            $($crate::lab::case::Case {
                name: stringify!($name),
                run: $name,
                alone: $crate::lab::case::cases!(@ $($alone)?),
            }),*
        ];
    };
    (@) => { false };
    (@ alone) => { true };
}
pub(crate) use cases;
