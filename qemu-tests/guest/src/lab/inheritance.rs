// SPDX-License-Identifier: GPL-2.0

//! net.core.devconf_inherit_init_net: the initial `all` and `default` of a new namespace.

use anyhow::{Context, Result};
use std::fs;

const FILE: &str = "/proc/sys/net/core/devconf_inherit_init_net";

/// The initial values of a new namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Inherit {
    /// The built-in values.
    Nothing = 2,
    /// The values of the namespace of the process that creates it.
    FromMaker = 3,
}

/// The previous setting. Dropping this restores it.
pub(crate) struct Before(String);

/// Sets the initial values of namespaces that are created from now on.
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
