// SPDX-License-Identifier: GPL-2.0

//! The routing tables, as far as addresses and VRFs use them: net/ipv4/fib_trie.c and fib_rules.c.

use crate::{
    operation::{Place, Slot},
    prefix::{Prefix, Scope},
};
use std::{cmp::Reverse, net::Ipv4Addr};

pub(crate) const LOCAL: u32 = 255;
pub(crate) const MAIN: u32 = 254;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Type {
    Local,
    Unicast,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Route {
    pub(crate) table: u32,
    pub(crate) dst: Prefix,
    pub(crate) kind: Type,
    pub(crate) scope: Scope,
    /// The preferred source. Routes that the kernel makes for an address have one, manual routes do not.
    pub(crate) prefsrc: Option<Ipv4Addr>,
    pub(crate) dev: Slot,
}

#[derive(Clone, Debug)]
pub(crate) struct Fib {
    /// In the order in which they were added: the first of equal prefixes is used.
    routes: Vec<Route>,
    /// Whether a rule was ever added, for a VRF or by hand.
    has_rules: bool,
    /// The positions of rules for the table "local".
    local_rules: Vec<Place>,
}

impl Default for Fib {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            has_rules: false,
            local_rules: vec![Place::Before],
        }
    }
}

impl Fib {
    /// `fib_unmerge`.
    pub(crate) fn split(&mut self) {
        self.has_rules = true;
    }

    pub(crate) fn has_local_rule(&self, place: Place) -> bool {
        self.local_rules.contains(&place)
    }

    pub(crate) fn add_local_rule(&mut self, place: Place) {
        self.split();
        self.local_rules.push(place);
    }

    pub(crate) fn remove_local_rule(&mut self, place: Place) {
        self.local_rules.retain(|other| *other != place);
    }

    pub(crate) fn has_rules(&self) -> bool {
        self.has_rules
    }

    /// `fib_table_lookup`: returns the route to `dst`, through `oif` if given.
    pub(crate) fn in_table(&self, table: u32, dst: Ipv4Addr, oif: Option<Slot>) -> Option<&Route> {
        // Without rules, the tables "local" and "main" share one trie.
        let tables = match table {
            LOCAL | MAIN if !self.has_rules => [LOCAL, MAIN],
            table => [table, table],
        };
        self.routes
            .iter()
            .filter(|route| tables.contains(&route.table) && route.dst.covers(dst))
            .filter(|route| oif.is_none_or(|oif| oif == route.dev))
            .min_by_key(|route| (Reverse(route.dst.len), Reverse(route.table)))
    }

    /// `fib_lookup`: returns the route to `dst` for packets of a device in the VRF with that table.
    pub(crate) fn lookup(
        &self,
        vrf: Option<u32>,
        dst: Ipv4Addr,
        oif: Option<Slot>,
    ) -> Option<&Route> {
        let local_at = |place| self.has_local_rule(place).then_some(LOCAL);
        [
            local_at(Place::Before),
            vrf,
            local_at(Place::Behind),
            Some(MAIN),
        ]
        .into_iter()
        .flatten()
        .find_map(|table| self.in_table(table, dst, oif))
    }

    /// `inet_addr_type_table`: whether an address is local according to a table.
    pub(crate) fn is_local(&self, table: u32, addr: Ipv4Addr) -> bool {
        self.in_table(table, addr, None)
            .is_some_and(|route| route.kind == Type::Local)
    }

    /// Whether the table has a route to exactly this prefix.
    pub(crate) fn has(&self, table: u32, dst: Prefix) -> bool {
        self.routes
            .iter()
            .any(|route| route.table == table && route.dst == dst)
    }

    /// `fib_table_insert` with NLM_F_APPEND.
    pub(crate) fn append(&mut self, route: Route) {
        if self.has_valid_prefsrc(&route) && !self.routes.contains(&route) {
            self.routes.push(route);
        }
    }

    /// `fib_valid_prefsrc`.
    fn has_valid_prefsrc(&self, route: &Route) -> bool {
        let Some(prefsrc) = route.prefsrc else {
            return true;
        };
        if route.kind == Type::Local && route.dst.addr == prefsrc {
            return true;
        }
        let table = if route.table == MAIN {
            LOCAL
        } else {
            route.table
        };
        self.is_local(table, prefsrc) || self.is_local(LOCAL, prefsrc)
    }

    /// `fib_table_delete`, for a route that was given to `append`.
    pub(crate) fn remove(&mut self, route: &Route) {
        if let Some(at) = self.routes.iter().position(|other| other == route) {
            self.routes.remove(at);
        }
    }

    /// Removes the route to a prefix through a device. Returns whether there was one.
    pub(crate) fn remove_by_hand(&mut self, table: u32, dst: Prefix, dev: Slot) -> bool {
        let found = self
            .routes
            .iter()
            .position(|route| (route.table, route.dst, route.dev) == (table, dst, dev));
        found.map(|at| self.routes.remove(at)).is_some()
    }

    /// `fib_sync_down_dev`, for a device that was set down: its addresses stay local.
    pub(crate) fn flush_down(&mut self, dev: Slot) {
        self.routes
            .retain(|route| route.dev != dev || route.kind == Type::Local);
    }

    /// `fib_sync_down_dev`, for a device that lost IPv4 or changed its l3 domain.
    pub(crate) fn flush(&mut self, dev: Slot) {
        self.routes.retain(|route| route.dev != dev);
    }

    /// `fib_sync_down_addr`.
    pub(crate) fn flush_prefsrc(&mut self, table: u32, prefsrc: Ipv4Addr) {
        self.routes
            .retain(|route| route.table != table || route.prefsrc != Some(prefsrc));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn route(table: u32, len: u8, kind: Type, dev: Slot) -> Route {
        Route {
            table,
            dst: Prefix::new(A, len).network(),
            kind,
            scope: Scope::Link,
            prefsrc: None,
            dev,
        }
    }

    #[test]
    fn local_and_main_are_one_trie_until_there_is_a_vrf() {
        let mut fib = Fib::default();
        fib.append(route(LOCAL, 24, Type::Local, Slot::LO));
        fib.append(route(MAIN, 28, Type::Unicast, Slot::WIRES[0]));
        assert!(!fib.is_local(LOCAL, A));
        assert_eq!(fib.lookup(None, A, None).unwrap().dev, Slot::WIRES[0]);
        fib.split();
        assert!(fib.is_local(LOCAL, A));
        assert_eq!(fib.lookup(None, A, None).unwrap().dev, Slot::LO);
    }

    #[test]
    fn of_equal_prefixes_the_first_that_may_be_used_counts() {
        let [eth0, eth1, _] = Slot::WIRES;
        let mut fib = Fib::default();
        fib.append(route(MAIN, 24, Type::Unicast, eth0));
        fib.append(route(MAIN, 24, Type::Unicast, eth1));
        fib.append(route(MAIN, 16, Type::Unicast, Slot::LO));
        assert_eq!(fib.lookup(None, A, None).unwrap().dev, eth0);
        assert_eq!(fib.lookup(None, A, Some(eth1)).unwrap().dev, eth1);
        assert_eq!(fib.lookup(None, A, Some(Slot::LO)).unwrap().dst.len, 16);
        fib.flush_down(eth0);
        assert_eq!(fib.lookup(None, A, None).unwrap().dev, eth1);
    }

    #[test]
    fn the_table_local_comes_before_a_vrfs_or_behind_it() {
        let mut fib = Fib::default();
        fib.split();
        fib.append(route(1001, 32, Type::Local, Slot::WIRES[0]));
        fib.append(route(LOCAL, 16, Type::Local, Slot::LO));
        assert_eq!(fib.lookup(Some(1001), A, None).unwrap().dev, Slot::LO);
        assert!(fib.is_local(1001, A));
        fib.add_local_rule(Place::Behind);
        fib.remove_local_rule(Place::Before);
        assert_eq!(fib.lookup(Some(1001), A, None).unwrap().dev, Slot::WIRES[0]);
        assert_eq!(fib.lookup(Some(1002), A, None).unwrap().dev, Slot::LO);
    }

    #[test]
    fn a_preferred_source_must_be_local() {
        let mut fib = Fib::default();
        let wanting = Route {
            prefsrc: Some(A),
            ..route(MAIN, 24, Type::Unicast, Slot::WIRES[0])
        };
        fib.append(wanting);
        assert!(!fib.has(MAIN, wanting.dst));
        fib.append(route(LOCAL, 32, Type::Local, Slot::WIRES[0]));
        fib.append(wanting);
        assert!(fib.has(MAIN, wanting.dst));
    }
}
