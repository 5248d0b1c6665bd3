// SPDX-License-Identifier: GPL-2.0

//! An Ethernet switch in user space, which connects virtual machines and records every frame that they send.

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

/// A running switch.
pub(crate) struct Switch {
    recording: Arc<Mutex<Recording>>,
}

/// The frames that passed.
#[derive(Default)]
struct Recording {
    /// The ports' names.
    names: Vec<String>,
    frames: Vec<Frame>,
}

/// The machine's end of a cable to the switch. It must outlive the start of QEMU.
pub(crate) struct Cable {
    end: UnixDatagram,
}

impl Switch {
    /// Creates a switch, and a cable for each port.
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

    /// Starts a new recording. `names` are the machines at the ports, in order, and name the senders of frames. Frames from
    /// ports without a name are not recorded.
    pub(crate) fn record(&self, names: &[&str]) {
        *self.recording.lock().expect("the switch failed") = Recording {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            frames: Vec::new(),
        };
    }

    /// Returns the frames recorded so far, in the order in which the switch forwarded them.
    pub(crate) fn recording(&self) -> Vec<Frame> {
        self.recording_since(0)
    }

    /// As [`Self::recording`], without the `first` frames, a number that [`Self::recorded`] returned.
    pub(crate) fn recording_since(&self, first: usize) -> Vec<Frame> {
        let recording = self.recording.lock().expect("the switch failed");
        recording.frames[first..].to_vec()
    }

    /// Returns a reader of the recording that does not borrow the switch.
    pub(crate) fn watcher(&self) -> Watcher {
        Watcher {
            recording: self.recording.clone(),
        }
    }

    /// Returns the number of frames recorded so far.
    pub(crate) fn recorded(&self) -> usize {
        let recording = self.recording.lock().expect("the switch failed");
        recording.frames.len()
    }
}

/// A reader of the recording.
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
    /// Returns QEMU's arguments for a network card on this cable.
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

/// A station that sends the same frames again and again until it is dropped.
pub(crate) struct Beacon {
    _cable: Arc<Cable>,
}

impl Beacon {
    /// Starts to send the frames, with a pause after each round.
    pub(crate) fn new(cable: Cable, frames: Vec<Vec<u8>>, pause: Duration) -> Self {
        let cable = Arc::new(cable);
        let sender = Arc::downgrade(&cable);
        thread::spawn(move || {
            while let Some(cable) = sender.upgrade() {
                for frame in &frames {
                    // Fails only once the switch is gone.
                    let _ = cable.end.send(frame);
                }
                drop(cable);
                thread::sleep(pause);
            }
        });
        Self { _cable: cable }
    }
}

/// Forwards and records frames until the recording is dropped.
fn forward(ports: &[UnixDatagram], recorder: &Weak<Mutex<Recording>>) {
    let start = Instant::now();
    let mut learnt: HashMap<[u8; 6], usize> = HashMap::new();
    let mut buffer = [0; 65536];
    loop {
        let mut waiting: Vec<PollFd<'_>> = ports
            .iter()
            .map(|port| PollFd::new(port.as_fd(), PollFlags::POLLIN))
            .collect();
        // An interruption is harmless. The time-out is for noticing the end of the switch.
        let _ = poll(&mut waiting, 1000u16);
        let Some(recording) = recorder.upgrade() else {
            return;
        };
        // A hardware switch sends a broadcast out of all its ports at once. Here one port comes first. It is another one
        // each time, so that no machine wins the race to reply because of its port.
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
                    // A machine that cannot keep up loses the frame, as on any switch.
                    let _ = ports[port].send(frame);
                }
            }
        }
    }
}
