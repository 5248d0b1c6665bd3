// SPDX-License-Identifier: GPL-2.0

//! What a case is.

use crate::lab::Lab;
use anyhow::Result;

/// A case: what must hold, told as the story of a network.
pub(crate) struct Case {
    /// Its name: the row of the semantics first.
    pub(crate) name: &'static str,
    /// The story.
    pub(crate) run: fn(&mut Lab) -> Result<()>,
    /// Whether it needs the machine to itself: it loads or unloads modules, changes what all namespaces share, or reads
    /// what others write too.
    pub(crate) alone: bool,
}

/// The cases of a file, by their functions' names. `: alone` marks those that need the machine to themselves.
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
