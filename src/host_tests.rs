// SPDX-License-Identifier: GPL-2.0

//! Runs the unit tests of the pure files on the host: `rustc --test src/host_tests.rs`.

#![deny(unsafe_code)]
#![allow(dead_code)]

mod arp;
mod policy;
