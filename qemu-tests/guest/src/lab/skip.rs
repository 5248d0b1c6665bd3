// SPDX-License-Identifier: GPL-2.0

//! Skipping a case.

use std::fmt;

/// The error with which a case that cannot run here ends: the reason.
#[derive(Debug)]
pub(crate) struct Skip(pub(crate) String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}
