// SPDX-License-Identifier: GPL-2.0

//! The host that is compared with the model, and its neighbour.

use super::tally::Tally;
use crate::{
    lab::{
        batch::Batch,
        inheritance::{inherit, Inherit},
        Host, Lab,
    },
    machine,
    wire::Wire, //
};
use anyhow::{bail, Context, Result};
use model::{Command, Outcome, Probe, Seen, Slot, Step};
use socket2::{Domain, Protocol, Socket, Type};
use std::{fmt, net::Ipv4Addr, rc::Rc};

/// A difference between the host and the model.
pub(super) struct Difference {
    /// The probe that sees it. `None` if the operation itself differs, or if there was an error.
    pub(super) probe: Option<Probe>,
    pub(super) text: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The network: three wires from the host to its neighbour, and devices that come and go.
pub(super) struct Network {
    pub(super) host: Host,
    ip: Batch,
    wires: [Rc<Wire>; 3],
    /// Sends packets from any address.
    pub(super) raw: Socket,
    pub(super) model: model::Host,
    /// The second namespace.
    annex: Option<Host>,
    pub(super) asks: u16,
}

impl Network {
    pub(super) fn new(lab: &mut Lab) -> Result<Self> {
        let host = lab.host(model::Host::NAME)?;
        let neighbour = lab.host("neighbour")?;
        let mut wire =
            |device| lab.wire((&host, device), (&neighbour, device), Ipv4Addr::UNSPECIFIED);
        let wires = [wire("eth0")?, wire("eth1")?, wire("eth2")?];
        for wire in &wires {
            wire.settle()?;
        }
        // With protocol 255, packets come with their own IPv4 header.
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

    pub(super) fn step(
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
            // Until then, a reply for a new address may be suppressed (row 31).
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

    /// Returns the second namespace: the model's and the real one.
    pub(super) fn annex(&self) -> Result<(&model::Host, &Host)> {
        let both = self.model.annex().zip(self.annex.as_ref());
        both.context("no second namespace")
    }

    pub(super) fn wires_up(&self) -> impl Iterator<Item = (Slot, &Wire)> {
        let wires = self.wires.iter().map(|wire| &**wire);
        let all = Slot::WIRES.into_iter().zip(wires);
        all.filter(|(slot, _)| self.model.is_up(*slot))
    }

    pub(super) fn wire(&self, slot: Slot) -> Result<&Wire> {
        let mut wires = self.wires_up();
        let wire = wires.find(|(other, _)| *other == slot);
        wire.map(|(_, wire)| wire).context("no wire that is up")
    }
}
