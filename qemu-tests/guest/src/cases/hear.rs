// SPDX-License-Identifier: GPL-2.0

//! Requests that a host hears: rows 1 to 10.

use super::{real_server, HOST, VIP};
use crate::{
    case::cases,
    lab::{Lab, Way},
    wire::who_has, //
};
use anyhow::Result;

cases![row01_broadcast];

fn row01_broadcast(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for way in Way::ALL {
        wire.answered(who_has(VIP))?;
        wire.answered(who_has(VIP).multicast())?;
        host.conceal("lo", way)?;
        wire.silent(who_has(VIP))?;
        wire.silent(who_has(VIP).multicast())?;
        wire.answered(who_has(HOST))?;
        host.reveal("lo", way)?;
    }
    wire.answered(who_has(VIP))
}
