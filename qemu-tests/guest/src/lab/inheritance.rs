// SPDX-License-Identifier: GPL-2.0

//! net.core.devconf_inherit_init_net: with which `all` and `default` a new namespace starts.

use anyhow::{Context, Result};
use std::fs;

const FILE: &str = "/proc/sys/net/core/devconf_inherit_init_net";

/// What a new namespace starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Inherit {
    /// The values that are compiled in.
    Nothing = 2,
    /// Those of the namespace of the process that makes it.
    FromMaker = 3,
}

/// The setting before; it comes back when this is dropped.
pub(crate) struct Before(String);

/// Sets what the next new namespaces start with.
pub(crate) fn inherit(inherit: Inherit) -> Result<Before> {
    let before = fs::read_to_string(FILE).context(FILE)?;
    fs::write(FILE, (inherit as i32).to_string())?;
    Ok(Before(before))
}

impl Drop for Before {
    fn drop(&mut self) {
        drop(fs::write(FILE, &self.0));
    }
}
