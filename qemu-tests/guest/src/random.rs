// SPDX-License-Identifier: GPL-2.0

//! A host against the reference model: random operations on it, and after each what probes see, compared with
//! what the model says that they must see.

use crate::{
    lab::{
        batch::Batch,
        inheritance::{inherit, Inherit},
        Host, Lab,
    },
    machine,
    wire::Wire, //
};
use anyhow::{bail, ensure, Context, Result};
use model::{shrink, Cast, Command, Generator, Operation, Outcome, Probe, Seen, Slot, Step};
use nix::{
    sched::{sched_getaffinity, sched_setaffinity, CpuSet},
    unistd::Pid,
};
use protocol::frame::{Arp, Colons, Mac, BROADCAST, MULTICAST};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    collections::HashSet,
    fmt, fs,
    net::{Ipv4Addr, SocketAddrV4},
    rc::Rc,
    time::{Duration, Instant},
};

/// How many operations a seed makes.
pub(crate) const OPERATIONS: usize = 240;
/// How many of them are on the same host. A failing sequence is this long before it is shrunk.
const EPISODE: usize = 60;
/// How long a failing sequence may be tried to be shrunk: less than the runner's patience.
const SHRINKING: Duration = Duration::from_secs(100);

/// Compares as many operations as a seed makes.
pub(crate) fn compare(lab: &mut Lab, seed: u64) -> Result<()> {
    // Whatever earlier cases wrote.
    let _before = inherit(Inherit::Nothing)?;
    let _one_processor = OneProcessor::new()?;
    // Room for all neighbours: the kernel is not to forget any in between.
    for (number, threshold) in [1, 2, 3].into_iter().zip([1 << 14, 1 << 15, 1 << 16]) {
        let file = format!("/proc/sys/net/ipv4/neigh/default/gc_thresh{number}");
        fs::write(file, threshold.to_string())?;
    }
    let renames = machine::renames_what_is_up()?;
    let mut tally = Tally::default();
    for episode in 0..(OPERATIONS / EPISODE) as u64 {
        let mut generator = Generator::new((seed << 16) | episode);
        let steps = (0..EPISODE).map(|_| generator.step());
        let steps: Vec<Step> = steps
            .filter(|step| renames || !matches!(step.operation, Operation::Rename(_)))
            .collect();
        if let Some((len, difference)) = replay(lab, &steps, &mut tally)? {
            let error = explain(lab, &steps[..len], &difference);
            lab.note = Some(tally.to_string());
            return Err(error);
        }
    }
    lab.note = Some(tally.to_string());
    Ok(())
}

/// Shrinks a failing sequence and leaves the laboratory as the shortest one has left it: what was done in it
/// is what a person has to type.
fn explain(lab: &mut Lab, steps: &[Step], difference: &Difference) -> anyhow::Error {
    let deadline = Instant::now() + SHRINKING;
    let mut fails = |steps: &[Step]| {
        if Instant::now() > deadline {
            return None;
        }
        let failed = replay(lab, steps, &mut Tally::default()).ok()?;
        failed.map(|(len, _)| len)
    };
    let mut shortest = steps.to_vec();
    // Most often one probe shows it, and the others do not matter.
    let mut alone = shortest.clone();
    alone.iter_mut().for_each(|step| step.probes.clear());
    if let (Some(last), Some(probe)) = (alone.last_mut(), difference.probe) {
        last.probes.push(probe);
    }
    if let Some(len) = fails(&alone) {
        shortest = alone[..len].to_vec();
    }
    shortest = shrink(shortest, &mut fails);
    let mut text = format!("operation {}: {difference}\n", steps.len());
    match replay(lab, &shortest, &mut Tally::default()) {
        Ok(Some((len, difference))) => {
            text += &format!("The shortest sequence found has {len} operations: ");
            text += &format!("what was done, below, and then\n{difference}");
        }
        Ok(None) => text += "It does not happen again.",
        Err(error) => text += &format!("The last try ended by itself: {error:#}"),
    }
    anyhow::Error::msg(text)
}

/// What was compared.
#[derive(Default)]
struct Tally {
    operations: usize,
    asks: usize,
    answers: usize,
    resolves: usize,
    connects: usize,
    reads: usize,
}

impl Tally {
    fn add(&mut self, seen: Seen) {
        match seen {
            Seen::Answer { is_answered, .. } => {
                self.asks += 1;
                self.answers += usize::from(is_answered);
            }
            Seen::Sender(_) => self.resolves += 1,
            Seen::Source(_) => self.connects += 1,
            Seen::Value(_) => self.reads += 1,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operations,
            asks,
            answers,
            resolves,
            connects,
            reads,
        } = self;
        write!(
            f,
            "{operations} operations, {} probes compared: {asks} requests ({answers} answered), {resolves} \
             announcements, {connects} sources, {reads} knobs",
            asks + resolves + connects + reads,
        )
    }
}

/// Where the host and the model differ.
struct Difference {
    /// `None`: in the operation itself, or in what is no result of any probe.
    probe: Option<Probe>,
    text: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Does the steps on a new host, up to the first difference: the number of steps done, and the difference.
fn replay(lab: &mut Lab, steps: &[Step], tally: &mut Tally) -> Result<Option<(usize, Difference)>> {
    *lab = Lab::new();
    let mut network = Network::new(lab)?;
    for (at, step) in steps.iter().enumerate() {
        // When others are left out, an operation may have lost its device.
        if !network.model.can_try(&step.operation) {
            continue;
        }
        // What cannot be understood is a difference too, and to be shrunk.
        let difference = network.step(lab, step, tally).unwrap_or_else(|error| {
            let text = format!("{error:#}");
            Some(Difference { probe: None, text })
        });
        if let Some(difference) = difference {
            return Ok(Some((at + 1, difference)));
        }
    }
    Ok(None)
}

/// The network of the comparison: three wires from the host to its neighbour, and what comes and goes.
struct Network {
    host: Host,
    ip: Batch,
    wires: [Rc<Wire>; 3],
    /// Sends packets from any address.
    raw: Socket,
    model: model::Host,
    /// The second namespace.
    annex: Option<Host>,
    asks: u16,
}

impl Network {
    fn new(lab: &mut Lab) -> Result<Self> {
        let host = lab.host(model::Host::NAME)?;
        let neighbour = lab.host("neighbour")?;
        let mut wire =
            |device| lab.wire((&host, device), (&neighbour, device), Ipv4Addr::UNSPECIFIED);
        let wires = [wire("eth0")?, wire("eth1")?, wire("eth2")?];
        for wire in &wires {
            wire.settle()?;
        }
        // The protocol by which a packet brings its own IPv4 header.
        let raw =
            host.enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))))??;
        Ok(Self {
            ip: Batch::new(&host)?,
            host,
            wires,
            raw,
            model: model::Host::default(),
            annex: None,
            asks: 0,
        })
    }

    fn step(
        &mut self,
        lab: &mut Lab,
        step: &Step,
        tally: &mut Tally,
    ) -> Result<Option<Difference>> {
        tally.operations += 1;
        let command = self.model.command(&step.operation);
        let expected = self.model.apply(&step.operation);
        let (outcome, complaints) = self.run(lab, &command)?;
        if outcome != expected {
            let text =
                format!("{command:?} must be {expected:?}, but is {outcome:?}: {complaints}");
            return Ok(Some(Difference { probe: None, text }));
        }
        if !matches!(command, Command::Sysctl(..)) {
            // Until then, a reply for an address that has just come may be withheld.
            machine::wait_for_grace_period()?;
            // A device may have gone down and up again.
            for (_, wire) in self.wires_up() {
                wire.settle()?;
            }
        }
        let probes: Vec<(Probe, Seen)> = step
            .probes
            .iter()
            .filter_map(|probe| Some((*probe, self.model.predict(probe)?)))
            .collect();
        let seen = self.look(probes.iter().map(|(probe, _)| *probe))?;
        for ((probe, must), seen) in probes.into_iter().zip(seen) {
            if seen != must {
                let probe_text = self.tell(&probe);
                let text = format!("{probe_text}: it must see {must:?}, but sees {seen:?}");
                let probe = Some(probe);
                return Ok(Some(Difference { probe, text }));
            }
            tally.add(seen);
        }
        Ok(None)
    }

    fn run(&mut self, lab: &mut Lab, command: &Command) -> Result<(Outcome, String)> {
        let complaint = |result: Result<_, _>| match result {
            Ok(()) => String::new(),
            Err(error) => format!("{error:#}"),
        };
        let complaints = match command {
            Command::Ip(arguments) => self.ip.run(arguments)?,
            Command::Sysctl(file, value) => complaint(self.host.set(file, *value)),
            Command::MakeAnnex { inherits } => {
                let _before = inherit(match inherits {
                    true => Inherit::FromMaker,
                    false => Inherit::Nothing,
                })?;
                self.annex = Some(lab.made_by(&self.host, model::Host::ANNEX)?);
                String::new()
            }
            Command::InAnnex(command) => {
                let annex = self.annex.as_ref().context("no second namespace")?;
                match &**command {
                    Command::Ip(arguments) => complaint(annex.ip(arguments).map(drop)),
                    Command::Sysctl(file, value) => complaint(annex.set(file, *value)),
                    other => bail!("{other:?} in the second namespace"),
                }
            }
        };
        let outcome = if complaints.is_empty() {
            Outcome::Done
        } else {
            Outcome::Refused
        };
        Ok((outcome, complaints))
    }

    /// The second namespace: as it must be, and as it is.
    fn annex(&self) -> Result<(&model::Host, &Host)> {
        let both = self.model.annex().zip(self.annex.as_ref());
        both.context("no second namespace")
    }

    fn wires_up(&self) -> impl Iterator<Item = (Slot, &Wire)> {
        let wires = self.wires.iter().map(|wire| &**wire);
        let all = Slot::WIRES.into_iter().zip(wires);
        all.filter(|(slot, _)| self.model.is_up(*slot))
    }

    fn wire(&self, slot: Slot) -> Result<&Wire> {
        let mut wires = self.wires_up();
        let wire = wires.find(|(other, _)| *other == slot);
        wire.map(|(_, wire)| wire).context("no wire that is up")
    }

    /// What the probes see. All that is sent is sent first: one look at each wire then shows what came of it.
    fn look(&mut self, probes: impl Iterator<Item = Probe> + Clone) -> Result<Vec<Seen>> {
        let mut askers = Vec::new();
        for probe in probes.clone() {
            match probe {
                Probe::Ask { on, tip, sip, cast } => {
                    let asker = self.ask(on, tip, sip, cast)?;
                    askers.push(asker);
                }
                Probe::Resolve { out, target, from } => self.send(out, target, from)?,
                Probe::Connect { .. } | Probe::Read(..) | Probe::ReadInAnnex(..) => {}
            }
        }
        let mut heard = Vec::new();
        for (slot, wire) in self.wires_up() {
            heard.extend(wire.heard_arp()?.into_iter().map(|arp| (slot, arp)));
        }
        let learnt = self.learnt()?;
        let mut askers = askers.into_iter();
        probes
            .map(|probe| match probe {
                Probe::Ask { on, tip, sip, .. } => {
                    let asker = askers.next().context("an asker")?;
                    let is_fresh = sip.is_some_and(model::is_fresh);
                    Ok(Seen::Answer {
                        is_answered: is_answered(&heard, on, asker, tip)?,
                        is_learnt: is_fresh && learnt.contains(&Colons(asker).to_string()),
                    })
                }
                Probe::Resolve { out, target, .. } => {
                    Ok(Seen::Sender(sender(&heard, out, target)?))
                }
                Probe::Connect { to, out } => {
                    let out = out.map(|out| self.model.name(out));
                    Ok(Seen::Source(self.host.enter(|| source(to, out))?))
                }
                Probe::Read(directory, knob) => {
                    let file = self.model.file(directory, knob);
                    Ok(Seen::Value(self.host.get(&file).ok()))
                }
                Probe::ReadInAnnex(directory, knob) => {
                    let (model, annex) = self.annex()?;
                    Ok(Seen::Value(annex.get(&model.file(directory, knob)).ok()))
                }
            })
            .collect()
    }

    /// Sends a request, from a hardware address of its own, by which its answer is known. Returns that.
    fn ask(&mut self, on: Slot, tip: Ipv4Addr, sip: Option<Ipv4Addr>, cast: Cast) -> Result<Mac> {
        let [high, low] = self.asks.to_be_bytes();
        self.asks += 1;
        let asker = [2, 1, 0, 0, high, low];
        let wire = self.wire(on)?;
        let request = Arp {
            from: asker,
            to: match cast {
                Cast::Broadcast => BROADCAST,
                Cast::Multicast => MULTICAST,
                Cast::Unicast => wire.far_mac,
            },
            op: 1,
            sha: asker,
            sip: sip.unwrap_or(Ipv4Addr::UNSPECIFIED),
            tha: [0; 6],
            tip,
        };
        wire.send(&request.bytes())?;
        Ok(asker)
    }

    /// Sends a packet out of a device. It may be that there is no way to the target.
    fn send(&self, out: Slot, target: Ipv4Addr, from: Ipv4Addr) -> Result<()> {
        const HEADER_LEN: u8 = 20;
        const PROTOCOL: u8 = 253; // for experiments
        let mut packet = [0; HEADER_LEN as usize];
        packet[0] = 0x45;
        packet[3] = HEADER_LEN;
        packet[8] = 64;
        packet[9] = PROTOCOL;
        packet[12..16].copy_from_slice(&from.octets());
        packet[16..20].copy_from_slice(&target.octets());
        self.raw
            .bind_device(Some(self.model.name(out).as_bytes()))?;
        let to = SockAddr::from(SocketAddrV4::new(target, 0));
        drop(self.raw.send_to(&packet, &to));
        Ok(())
    }

    /// The hardware addresses of the neighbours that the host knows.
    fn learnt(&self) -> Result<HashSet<String>> {
        let read = || fs::read_to_string("/proc/thread-self/net/arp");
        let table = self.host.enter(read)??;
        let of_line = |line: &str| line.split_whitespace().nth(3).map(str::to_owned);
        Ok(table.lines().filter_map(of_line).collect())
    }

    fn tell(&self, probe: &Probe) -> String {
        let dev = |slot: &Slot| self.model.name(*slot);
        match probe {
            Probe::Ask { on, tip, sip, cast } => {
                let sip = sip.unwrap_or(Ipv4Addr::UNSPECIFIED);
                format!("{cast:?} request on {}: who has {tip} tell {sip}", dev(on))
            }
            Probe::Resolve { out, target, from } => {
                format!("a packet from {from} to {target} out of {}", dev(out))
            }
            Probe::Connect { to, out } => match out {
                Some(out) => format!("a socket bound to {}, connected to {to}", dev(out)),
                None => format!("a socket connected to {to}"),
            },
            Probe::Read(directory, knob) => self.model.file(*directory, *knob),
            Probe::ReadInAnnex(directory, knob) => {
                let model = self.model.annex().unwrap_or(&self.model);
                format!("{} of the second namespace", model.file(*directory, *knob))
            }
        }
    }
}

/// Whether a request was answered: once, and rightly.
fn is_answered(heard: &[(Slot, Arp)], on: Slot, asker: Mac, tip: Ipv4Addr) -> Result<bool> {
    let mut replies = heard
        .iter()
        .filter(|(_, arp)| arp.is_reply() && arp.to == asker);
    let Some((slot, reply)) = replies.next() else {
        return Ok(false);
    };
    ensure!(
        *slot == on && reply.sip == tip && reply.tha == asker && reply.sha == reply.from,
        "a wrong answer: {reply}"
    );
    if let Some((_, another)) = replies.next() {
        bail!("more than one answer: {reply}; {another}");
    }
    Ok(true)
}

/// The sender address of the request for a target, if there was one.
fn sender(heard: &[(Slot, Arp)], out: Slot, target: Ipv4Addr) -> Result<Option<Ipv4Addr>> {
    let mut requests = heard
        .iter()
        .filter(|(_, arp)| arp.is_request() && arp.tip == target);
    let Some((slot, request)) = requests.next() else {
        return Ok(None);
    };
    ensure!(*slot == out, "out of a wrong device: {request}");
    for (_, another) in requests {
        ensure!(another.sip == request.sip, "{request}, but also {another}");
    }
    Ok(Some(request.sip))
}

/// The source address that a socket takes that is bound to a device or to nothing.
fn source(to: Ipv4Addr, out: Option<&str>) -> Option<Ipv4Addr> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).ok()?;
    socket.bind_device(out.map(str::as_bytes)).ok()?;
    socket
        .connect(&SockAddr::from(SocketAddrV4::new(to, 9)))
        .ok()?;
    Some(*socket.local_addr().ok()?.as_socket_ipv4()?.ip())
}

/// While this is held, the case stays on one processor. A veth's frames wait on the processor that sent them:
/// those of two processors could pass each other.
struct OneProcessor {
    before: CpuSet,
}

impl OneProcessor {
    fn new() -> Result<Self> {
        let before = sched_getaffinity(Pid::this())?;
        let mut one = CpuSet::new();
        one.set(0)?;
        sched_setaffinity(Pid::this(), &one)?;
        Ok(Self { before })
    }
}

impl Drop for OneProcessor {
    fn drop(&mut self) {
        let _ = sched_setaffinity(Pid::this(), &self.before);
    }
}
