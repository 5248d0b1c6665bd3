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
    time::{Duration, Instant}, //
};

/// A switch at work.
pub(crate) struct Switch {
    recording: Arc<Mutex<Recording>>,
}

/// What passed.
#[derive(Default)]
struct Recording {
    /// The ports' names.
    names: Vec<String>,
    frames: Vec<Frame>,
}

/// The machine's end of a cable to the switch. It must live until QEMU has been started.
pub(crate) struct Cable {
    end: UnixDatagram,
}

impl Switch {
    /// A switch with some ports, and the cables to plug into the machines.
    pub(crate) fn new(ports: usize) -> Result<(Self, Vec<Cable>)> {
        let mut near_ends = Vec::new();
        let mut cables = Vec::new();
        for _ in 0..ports {
            let (near, far) = UnixDatagram::pair()?;
            near.set_nonblocking(true)?;
            // QEMU inherits it.
            fcntl(&far, FcntlArg::F_SETFD(FdFlag::empty()))?;
            near_ends.push(near);
            cables.push(Cable { end: far });
        }
        let recording = Arc::default();
        let recorder = Arc::downgrade(&recording);
        thread::spawn(move || forward(&near_ends, &recorder));
        Ok((Self { recording }, cables))
    }

    /// Begins a new recording, in which the names tell who sent a frame: a name for each port, in order. What
    /// other ports send is left out of it.
    pub(crate) fn record(&self, names: &[&str]) {
        *self.recording.lock().expect("the switch failed") = Recording {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            frames: Vec::new(),
        };
    }

    /// The frames of the recording so far, in the order in which the switch forwarded them.
    pub(crate) fn recording(&self) -> Vec<Frame> {
        self.recording_since(0)
    }

    /// As [`Self::recording`], without the first ones: as many as [`Self::recorded`] said.
    pub(crate) fn recording_since(&self, first: usize) -> Vec<Frame> {
        let recording = self.recording.lock().expect("the switch failed");
        recording.frames[first..].to_vec()
    }

    /// Who looks at the recording while something else has the machines.
    pub(crate) fn watcher(&self) -> Watcher {
        Watcher {
            recording: self.recording.clone(),
        }
    }

    /// The number of frames so far.
    pub(crate) fn recorded(&self) -> usize {
        let recording = self.recording.lock().expect("the switch failed");
        recording.frames.len()
    }
}

/// Looks at a recording while something else has the machines.
#[derive(Clone)]
pub(crate) struct Watcher {
    recording: Arc<Mutex<Recording>>,
}

impl Watcher {
    /// As [`Switch::recording_since`].
    pub(crate) fn since(&self, first: usize) -> Vec<Frame> {
        let recording = self.recording.lock().expect("the switch failed");
        recording.frames[first..].to_vec()
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

/// A station that is no machine, and sends the same frames over and over, until it is dropped.
pub(crate) struct Beacon {
    _cable: Arc<Cable>,
}

impl Beacon {
    /// Sends the frames, then waits, and so on.
    pub(crate) fn new(cable: Cable, frames: Vec<Vec<u8>>, pause: Duration) -> Self {
        let cable = Arc::new(cable);
        let sender = Arc::downgrade(&cable);
        thread::spawn(move || {
            while let Some(cable) = sender.upgrade() {
                for frame in &frames {
                    // The switch is gone: so will be who has this.
                    let _ = cable.end.send(frame);
                }
                drop(cable);
                thread::sleep(pause);
            }
        });
        Self { _cable: cable }
    }
}

/// Forwards and records frames until nobody holds the recording any more.
fn forward(ports: &[UnixDatagram], recorder: &Weak<Mutex<Recording>>) {
    let start = Instant::now();
    let mut learnt: HashMap<[u8; 6], usize> = HashMap::new();
    let mut buffer = [0; 65536];
    loop {
        let mut waiting: Vec<PollFd<'_>> = ports
            .iter()
            .map(|port| PollFd::new(port.as_fd(), PollFlags::POLLIN))
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
            let Ok(length) = ports[from].recv(&mut buffer) else {
                continue;
            };
            let frame = &buffer[..length];
            let Some((destination, rest)) = frame.split_first_chunk::<6>() else {
                continue;
            };
            let Some(source) = rest.first_chunk::<6>() else {
                continue;
            };
            let mut recording = recording.lock().expect("a reader failed");
            if let Some(name) = recording.names.get(from).cloned() {
                recording.frames.push(Frame {
                    wire: name,
                    microseconds: start.elapsed().as_micros() as u64,
                    bytes: frame.to_vec(),
                });
            }
            drop(recording);
            learnt.insert(*source, from);
            let to = learnt.get(destination);
            for port in (0..ports.len()).map(in_turn) {
                if port != from && to.is_none_or(|to| *to == port) {
                    // A machine that does not keep up loses the frame, as with any switch.
                    let _ = ports[port].send(frame);
                }
            }
        }
    }
}
