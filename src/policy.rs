// SPDX-License-Identifier: GPL-2.0

//! Decides what to reply to and what to announce, as pure functions: the rules of `Documentation/semantics.md`.
//!
//! Nothing here depends on the kernel. The hooks gather the facts, call these functions and carry out the verdict. The
//! unit tests are named after the rows of the semantics and run on the host.

use crate::arp::Packet;

/// The flags in force on a device: its own ones, each only if `conf/all` has the same flag set.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Flags {
    /// `hidden`: 0, 1 or 2. With 2, unicast requests get no reply either.
    pub(crate) hidden: i32,
    /// `arp_invisible`: 0 or 1.
    pub(crate) arp_invisible: i32,
}

impl Flags {
    /// Returns the flags in force on a device with the flags `self` while `conf/all` has `all`.
    ///
    /// The two are combined by AND, unlike `arp_ignore` (max) and `arp_filter` (OR). The value is the device's.
    #[inline]
    pub(crate) fn enabled_by(self, all: Flags) -> Flags {
        Flags {
            hidden: if all.hidden != 0 { self.hidden } else { 0 },
            arp_invisible: if all.arp_invisible != 0 {
                self.arp_invisible
            } else {
                0
            },
        }
    }

    /// Whether the device's addresses are kept out of ARP.
    #[inline]
    pub(crate) fn conceal(self) -> bool {
        self.hidden != 0 || self.arp_invisible != 0
    }

    /// Whether the device's addresses are kept out of the selection of sources.
    #[inline]
    pub(crate) fn hide(self) -> bool {
        self.hidden != 0
    }

    /// Whether unicast requests for the device's addresses get no reply either.
    fn strict(self) -> bool {
        self.hidden == 2
    }
}

/// Why an address is concealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Why<O> {
    /// An owner of the address, one of them if there are several.
    pub(crate) owner: O,
    /// The flags in force on it.
    pub(crate) flags: Flags,
}

/// How an address stands for the device that received or will send a packet, according to its owners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing<O> {
    /// It has no owner.
    NotOurs,
    /// At least one owner is not concealed: the flags do not apply.
    Visible,
    /// Every owner is concealed.
    Concealed {
        /// The first owner.
        why: Why<O>,
        /// Whether the device that received or will send the packet is an owner.
        here: bool,
        /// Whether every owner has `hidden` set to 2.
        strict: bool,
    },
}

impl<O> Standing<O> {
    /// Returns the standing of an address with these owners: each with its flags in force, and whether it is the device
    /// that received or will send the packet.
    ///
    /// One visible owner makes the address visible. keepalived relies on that: it adds the VIP to eth0 of the master,
    /// while every node has it on hidden lo.
    pub(crate) fn of(mut owners: impl Iterator<Item = (O, Flags, bool)>) -> Self {
        let Some((owner, flags, mut here)) = owners.next() else {
            return Standing::NotOurs;
        };
        if !flags.conceal() {
            return Standing::Visible;
        }
        let why = Why { owner, flags };
        let mut strict = flags.strict();
        for (_, flags, is_here) in owners {
            if !flags.conceal() {
                return Standing::Visible;
            }
            here |= is_here;
            strict &= flags.strict();
        }
        Standing::Concealed { why, here, strict }
    }
}

/// The kinds of requests that get no reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unanswered {
    /// Broadcast or multicast.
    Broadcast,
    /// To this host's hardware address.
    Unicast,
    /// Duplicate address detection, broadcast or unicast.
    Dad,
}

/// Returns the kind of a request that gets no reply and the reason, given the standing of its tip for the receiving
/// device and whether it was unicast (PACKET_HOST). `None` leaves the request to the kernel. Rows 1 to 6 and 9a.
#[inline]
pub(crate) fn silences<O>(
    packet: &Packet,
    unicast: impl FnOnce() -> bool,
    tip: Standing<O>,
) -> Option<(Unanswered, Why<O>)> {
    match tip {
        // Rows 6 and 8: visible, or not ours.
        Standing::Visible | Standing::NotOurs => None,
        // Rows 3 and 5: the receiving device owns it.
        Standing::Concealed { here: true, .. } => None,
        // Row 4: duplicate address detection.
        Standing::Concealed { why, .. } if packet.sip == 0 => Some((Unanswered::Dad, why)),
        // Row 9a: another host announces that it has taken the address over.
        Standing::Concealed { why, .. } if packet.sip == packet.tip => {
            let kind = if unicast() {
                Unanswered::Unicast
            } else {
                Unanswered::Broadcast
            };
            Some((kind, why))
        }
        // Row 2: the sender knows our hardware address already.
        Standing::Concealed { why, strict, .. } if unicast() => {
            strict.then_some((Unanswered::Unicast, why))
        }
        // Row 1.
        Standing::Concealed { why, .. } => Some((Unanswered::Broadcast, why)),
    }
}

/// Whether a packet that this host sends is a neighbour solicitation with a sender address. Row 15 is everything else:
/// replies, gratuitous ARP, and probes without a sender address.
#[inline]
pub(crate) fn solicits(packet: &Packet) -> bool {
    packet.is_request && packet.sip != 0 && packet.sip != packet.tip
}

/// The sender address of a neighbour solicitation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Announced<O> {
    /// Its sip, unchanged.
    AsIs,
    /// Another one, because the sip is concealed, or (`None`) because no device has it any more.
    Another(Option<Why<O>>),
}

/// What becomes of a reply that this host sends.
pub(crate) enum Reply<O> {
    /// It may go.
    Due,
    /// It must not: its request may have been received before the address that it gives away was known to be concealed,
    /// or (`None`) before that address came and went (row 31).
    Early(Option<Why<O>>),
}

/// Decides which sender address a neighbour solicitation carries, given the standing of the sip for the sending device,
/// and whether the kernel considers the sip local. Rows 11, 12 and 14; the sending device may be an owner itself.
///
/// The kernel solicits only with local addresses. If no device has the sip, it was removed in between and may have been
/// concealed (row 31).
#[inline]
pub(crate) fn announces<O>(sip: Standing<O>, is_local: impl FnOnce() -> bool) -> Announced<O> {
    match sip {
        Standing::Concealed { why, .. } => Announced::Another(Some(why)),
        Standing::NotOurs if !is_local() => Announced::Another(None),
        Standing::Visible | Standing::NotOurs => Announced::AsIs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Flags = Flags {
        hidden: 0,
        arp_invisible: 0,
    };
    const HIDDEN: Flags = Flags {
        hidden: 1,
        arp_invisible: 0,
    };
    const STRICT: Flags = Flags {
        hidden: 2,
        arp_invisible: 0,
    };
    const INVISIBLE: Flags = Flags {
        hidden: 0,
        arp_invisible: 1,
    };

    const REQUEST: Packet = Packet {
        is_request: true,
        sip: 0x0a00_0002,
        tip: 0x0a00_0064,
    };
    const DAD: Packet = Packet { sip: 0, ..REQUEST };
    const GRATUITOUS: Packet = Packet {
        sip: REQUEST.tip,
        ..REQUEST
    };
    const REPLY: Packet = Packet {
        is_request: false,
        ..REQUEST
    };

    const BROADCAST: bool = false;
    const UNICAST: bool = true;
    const ELSEWHERE: bool = false;
    const HERE: bool = true;

    fn standing(owners: &[(Flags, bool)]) -> Standing<usize> {
        let owners = owners.iter().enumerate();
        Standing::of(owners.map(|(number, (flags, here))| (number, *flags, *here)))
    }

    fn silenced(
        packet: Packet,
        unicast: bool,
        owners: &[(Flags, bool)],
    ) -> Option<(Unanswered, Why<usize>)> {
        let silence = silences(&packet, || unicast, standing(owners));
        silence.filter(|_| packet.is_request)
    }

    fn silent(packet: Packet, unicast: bool, owners: &[(Flags, bool)]) -> bool {
        silenced(packet, unicast, owners).is_some()
    }

    fn withheld(packet: Packet, owners: &[(Flags, bool)]) -> bool {
        solicits(&packet) && announces(standing(owners), || true) != Announced::AsIs
    }

    #[test]
    fn all_enables_and_the_device_decides() {
        let all = |hidden, arp_invisible| Flags {
            hidden,
            arp_invisible,
        };
        assert_eq!(HIDDEN.enabled_by(OFF), OFF);
        assert_eq!(OFF.enabled_by(all(1, 1)), OFF);
        assert_eq!(HIDDEN.enabled_by(all(2, 0)), HIDDEN);
        assert_eq!(STRICT.enabled_by(all(1, 0)), STRICT);
        assert_eq!(STRICT.enabled_by(all(0, 1)), OFF);
        assert_eq!(INVISIBLE.enabled_by(all(1, 0)), OFF);
        assert_eq!(INVISIBLE.enabled_by(all(0, 1)), INVISIBLE);
        assert!(!INVISIBLE.hide() && INVISIBLE.conceal() && HIDDEN.hide());
    }

    #[test]
    fn row01_broadcast() {
        for concealed in [HIDDEN, STRICT, INVISIBLE] {
            assert!(silent(REQUEST, BROADCAST, &[(concealed, ELSEWHERE)]));
        }
        assert!(!silent(REQUEST, BROADCAST, &[(OFF, ELSEWHERE)]));
    }

    #[test]
    fn row02_unicast() {
        assert!(!silent(REQUEST, UNICAST, &[(HIDDEN, ELSEWHERE)]));
        assert!(!silent(REQUEST, UNICAST, &[(INVISIBLE, ELSEWHERE)]));
        assert!(silent(REQUEST, UNICAST, &[(STRICT, ELSEWHERE)]));
        assert!(!silent(
            REQUEST,
            UNICAST,
            &[(STRICT, ELSEWHERE), (HIDDEN, ELSEWHERE)]
        ));
        assert!(silent(
            REQUEST,
            UNICAST,
            &[(STRICT, ELSEWHERE), (STRICT, ELSEWHERE)]
        ));
    }

    #[test]
    fn row03_own_address() {
        for concealed in [HIDDEN, STRICT, INVISIBLE] {
            for cast in [BROADCAST, UNICAST] {
                assert!(!silent(REQUEST, cast, &[(concealed, HERE)]));
                assert!(!silent(
                    REQUEST,
                    cast,
                    &[(concealed, HERE), (concealed, ELSEWHERE)]
                ));
                assert!(!silent(
                    REQUEST,
                    cast,
                    &[(concealed, ELSEWHERE), (concealed, HERE)]
                ));
            }
        }
    }

    #[test]
    fn row04_and_05_duplicate_address_detection() {
        for concealed in [HIDDEN, STRICT, INVISIBLE] {
            for cast in [BROADCAST, UNICAST] {
                assert!(silent(DAD, cast, &[(concealed, ELSEWHERE)]));
                assert!(!silent(DAD, cast, &[(concealed, HERE)]));
            }
        }
    }

    #[test]
    fn row06_a_visible_owner_wins_in_any_order() {
        assert!(!silent(
            REQUEST,
            BROADCAST,
            &[(OFF, ELSEWHERE), (HIDDEN, ELSEWHERE)]
        ));
        assert!(!silent(
            REQUEST,
            BROADCAST,
            &[(HIDDEN, ELSEWHERE), (OFF, ELSEWHERE)]
        ));
        assert!(!silent(
            DAD,
            BROADCAST,
            &[(STRICT, ELSEWHERE), (OFF, ELSEWHERE)]
        ));
        assert!(silent(
            REQUEST,
            BROADCAST,
            &[(HIDDEN, ELSEWHERE), (INVISIBLE, ELSEWHERE)]
        ));
    }

    #[test]
    fn silence_has_a_kind_and_a_reason() {
        let owners = [(STRICT, ELSEWHERE), (INVISIBLE, ELSEWHERE)];
        let why = Why {
            owner: 0,
            flags: STRICT,
        };
        let silence = |kind| Some((kind, why));
        assert_eq!(
            silenced(REQUEST, BROADCAST, &owners),
            silence(Unanswered::Broadcast)
        );
        assert_eq!(
            silenced(REQUEST, UNICAST, &owners[..1]),
            silence(Unanswered::Unicast)
        );
        for cast in [BROADCAST, UNICAST] {
            assert_eq!(silenced(DAD, cast, &owners), silence(Unanswered::Dad));
        }
        assert_eq!(
            announces(standing(&owners), || true),
            Announced::Another(Some(why))
        );
    }

    #[test]
    fn row08_not_ours() {
        assert!(!silent(REQUEST, BROADCAST, &[]));
        assert!(!silent(DAD, BROADCAST, &[]));
    }

    #[test]
    fn row09_replies() {
        assert!(!silent(REPLY, BROADCAST, &[(STRICT, ELSEWHERE)]));
    }

    #[test]
    fn row09a_gratuitous_requests() {
        for cast in [BROADCAST, UNICAST] {
            for concealed in [HIDDEN, STRICT, INVISIBLE] {
                assert!(silent(GRATUITOUS, cast, &[(concealed, ELSEWHERE)]));
                assert!(!silent(GRATUITOUS, cast, &[(concealed, HERE)]));
            }
            assert!(!silent(GRATUITOUS, cast, &[(OFF, ELSEWHERE)]));
            assert!(!silent(GRATUITOUS, cast, &[]));
        }
    }

    #[test]
    fn row11_and_12_a_concealed_sender_address_is_withheld() {
        for concealed in [HIDDEN, STRICT, INVISIBLE] {
            assert!(withheld(REQUEST, &[(concealed, ELSEWHERE)]));
            assert!(withheld(REQUEST, &[(concealed, HERE)]));
        }
    }

    #[test]
    fn row14_a_visible_sender_address_is_not() {
        assert!(!withheld(REQUEST, &[(OFF, ELSEWHERE)]));
        assert!(!withheld(REQUEST, &[(HIDDEN, HERE), (OFF, ELSEWHERE)]));
        assert!(!withheld(REQUEST, &[]));
    }

    #[test]
    fn row31_a_sender_address_that_has_gone_is_withheld() {
        assert_eq!(announces(standing(&[]), || false), Announced::Another(None));
        assert_eq!(
            announces(standing(&[(OFF, ELSEWHERE)]), || false),
            Announced::AsIs
        );
    }

    #[test]
    fn row15_replies_gratuitous_and_probes_are_not() {
        for packet in [REPLY, GRATUITOUS, DAD] {
            assert!(!withheld(packet, &[(HIDDEN, ELSEWHERE)]));
        }
    }
}
