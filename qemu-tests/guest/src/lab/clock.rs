// SPDX-License-Identifier: GPL-2.0

//! The machine's clock.

use anyhow::Result;
use std::time::{Duration, Instant};

/// Returns how long something takes.
pub(crate) fn timed(f: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    f()?;
    Ok(start.elapsed())
}
