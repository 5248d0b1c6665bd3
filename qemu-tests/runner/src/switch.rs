// SPDX-License-Identifier: GPL-2.0

//! An Ethernet switch in user space: it joins virtual machines and records every frame that they send.

use anyhow::Result;
use nix::{
    fcntl::{fcntl, FcntlArg, FdFlag},
    poll::{poll, PollFd, PollFlags},
};
use protocol::Frame;
use std::{
    collections::HashMap,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixDatagram,
    },
    sync::{Arc, Mutex, Weak},
    thread,
    time::Instant,
};

/// A switch at work.
pub(crate) struct Switch {
    recording: Arc<Mutex<Vec<Frame>>>,
}

/// The machine's end of a cable to the switch. It must live until QEMU has been started.
pub(crate) struct Cable {
    end: UnixDatagram,
}

/// The switch's end of a cable.
struct Port {
    name: String,
    end: UnixDatagram,
}

impl Switch {
    /// A switch with a port for each name, and the cables to plug into the machines. In the recording, the name
    /// tells who sent a frame.
    pub(crate) fn new<const PORTS: usize>(names: [&str; PORTS]) -> Result<(Self, [Cable; PORTS])> {
        let mut ports = Vec::new();
        let mut cables = Vec::new();
        for name in names {
            let (near, far) = UnixDatagram::pair()?;
            near.set_nonblocking(true)?;
            // QEMU inherits it.
            fcntl(&far, FcntlArg::F_SETFD(FdFlag::empty()))?;
            ports.push(Port {
                name: name.to_owned(),
                end: near,
            });
            cables.push(Cable { end: far });
        }
        let recording = Arc::default();
        let recorder = Arc::downgrade(&recording);
        thread::spawn(move || forward(&ports, &recorder));
        let cables = cables
            .try_into()
            .unwrap_or_else(|_| unreachable!("one for each name"));
        Ok((Self { recording }, cables))
    }

    /// All frames so far, in the order in which the switch forwarded them.
    pub(crate) fn recording(&self) -> Vec<Frame> {
        self.recording.lock().expect("the switch failed").clone()
    }
}

impl Cable {
    /// The arguments that give QEMU a network card at this cable.
    pub(crate) fn card(&self, mac: [u8; 6]) -> Vec<String> {
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        vec![
            "-netdev".to_owned(),
            format!(
                "dgram,id=lan,local.type=fd,local.str={}",
                self.end.as_raw_fd()
            ),
            "-device".to_owned(),
            format!("virtio-net-pci,netdev=lan,mac={mac},romfile="),
        ]
    }
}

/// Forwards and records frames until nobody holds the recording any more.
fn forward(ports: &[Port], recorder: &Weak<Mutex<Vec<Frame>>>) {
    let start = Instant::now();
    let mut learnt: HashMap<[u8; 6], usize> = HashMap::new();
    let mut buffer = [0; 65536];
    loop {
        let mut waiting: Vec<PollFd<'_>> = ports
            .iter()
            .map(|port| PollFd::new(port.end.as_fd(), PollFlags::POLLIN))
            .collect();
        // An interrupted wait is one that saw nothing. The time-out is for the end of the switch.
        let _ = poll(&mut waiting, 1000u16);
        let Some(recording) = recorder.upgrade() else {
            return;
        };
        // A switch of silicon sends a broadcast out of all its ports at once. Here one port comes first: another
        // one each time, so that no machine wins the race to answer by the port that it is plugged into.
        let first = start.elapsed().subsec_nanos() as usize;
        let in_turn = |turn| (first + turn) % ports.len();
        for from in (0..ports.len()).map(in_turn) {
            let Ok(length) = ports[from].end.recv(&mut buffer) else {
                continue;
            };
            let frame = &buffer[..length];
            let Some((destination, rest)) = frame.split_first_chunk::<6>() else {
                continue;
            };
            let Some(source) = rest.first_chunk::<6>() else {
                continue;
            };
            recording.lock().expect("a reader failed").push(Frame {
                wire: ports[from].name.clone(),
                microseconds: start.elapsed().as_micros() as u64,
                bytes: frame.to_vec(),
            });
            learnt.insert(*source, from);
            let to = learnt.get(destination);
            for port in (0..ports.len()).map(in_turn) {
                if port != from && to.is_none_or(|to| *to == port) {
                    // A machine that does not keep up loses the frame, as with any switch.
                    let _ = ports[port].end.send(frame);
                }
            }
        }
    }
}
