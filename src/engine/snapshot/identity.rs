//! Ids that stay the same from version to version.
//!
//! The control thread keeps one [`Identities`] for the life of the process and compiles every
//! version with it. An upstream needs no id: its name identifies it.
//!
//! Invariant: no two listeners ever have the same id, so a late report names the listener that
//! counted.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{ListenerId, Snapshot};
use crate::address::Address;
use crate::limit::LimitId;

/// The ids of listeners and of limits, kept across versions.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    /// The listeners of the version in effect, and of all versions that were compiled since.
    listeners: HashMap<Box<str>, HashMap<Address, ListenerId, FixedState>, FixedState>,
    /// The name of every listener that ever existed, by its id. It grows by one name with each new
    /// listener of an operator.
    names: Vec<Box<str>>,
    /// The sizes and the ids of limits, by the object that has them.
    limits: HashMap<Box<str>, (u32, LimitId), FixedState>,
    /// Limits that ever existed.
    limits_made: u32,
}

impl Identities {
    /// The name of a listener, even if no version has it any more.
    #[must_use]
    pub fn name(&self, id: ListenerId) -> Option<&str> {
        self.names.get(id.0 as usize).map(|name| &**name)
    }

    /// Forgets the listeners that `snapshot`, which has taken effect, does not have. If such a
    /// listener comes back, it gets another id, so that nothing confuses it with the old one, which
    /// may still drain. Do not call this for a version that was refused: its listeners never changed.
    pub fn settle(&mut self, snapshot: &Snapshot) {
        let mut kept = HashMap::<_, HashMap<_, _, _>, _>::default();
        for it in &snapshot.listeners {
            kept.entry(it.name.clone()).or_default().insert(it.address.clone(), it.id);
        }
        self.listeners = kept;
        self.limits.retain(|of, _| snapshot.limit_of(of).is_some());
    }

    /// The id of the limit of this object, which has this size.
    pub(super) fn limit(&mut self, of: &str, size: u32) -> LimitId {
        match self.limits.get(of) {
            Some((before, id)) if *before == size => *id,
            _ => {
                let id = LimitId(self.limits_made);
                self.limits_made += 1;
                self.limits.insert(of.into(), (size, id));
                id
            }
        }
    }

    /// The id of the listener with this name and address.
    pub(super) fn listener(&mut self, name: &str, address: &Address) -> ListenerId {
        if let Some(id) = self.listeners.get(name).and_then(|by_address| by_address.get(address)) {
            return *id;
        }
        let id = ListenerId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.names.push(name.into());
        self.listeners.entry(name.into()).or_default().insert(address.clone(), id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(listeners: &[(&str, &str)], identities: &mut Identities) -> Snapshot {
        let listeners: String = listeners
            .iter()
            .map(|(name, address)| format!("[listeners.{name}]\naddress = \"{address}\"\n"))
            .collect();
        super::super::tests::snapshot(&listeners, identities)
    }

    fn ids(snapshot: &Snapshot) -> Vec<(&str, u32)> {
        snapshot.listeners.iter().map(|it| (&*it.name, it.id.0)).collect()
    }

    #[test]
    fn a_listener_keeps_its_id_while_name_and_address_stay() {
        let mut known = Identities::default();
        let first = snapshot(&[("web", "127.0.0.1:1"), ("api", "127.0.0.1:2")], &mut known);
        assert_eq!(ids(&first), [("web", 0), ("api", 1)]);
        known.settle(&first);
        let second = snapshot(&[("api", "127.0.0.1:2"), ("new", "127.0.0.1:1")], &mut known);
        assert_eq!(ids(&second), [("api", 1), ("new", 2)]);
        known.settle(&second);
        let third = snapshot(&[("api", "127.0.0.1:3"), ("new", "127.0.0.1:1")], &mut known);
        assert_eq!(ids(&third), [("new", 2), ("api", 3)]);
        assert_eq!(third.listener(ListenerId(3)).map(|it| &*it.name), Some("api"));
        assert_eq!(third.listener(ListenerId(1)), None);
    }

    #[test]
    fn a_listener_that_comes_back_is_another_one() {
        let mut known = Identities::default();
        let both = [("web", "127.0.0.1:1"), ("api", "127.0.0.1:2")];
        for (number, expected) in [(2, [0, 1].as_slice()), (1, &[0]), (2, &[0, 2])] {
            let snapshot = snapshot(&both[..number], &mut known);
            known.settle(&snapshot);
            assert_eq!(ids(&snapshot).iter().map(|it| it.1).collect::<Vec<_>>(), expected);
        }
        assert_eq!(
            [0, 1, 2, 3].map(|id| known.name(ListenerId(id))),
            [Some("web"), Some("api"), Some("api"), None]
        );
    }

    #[test]
    fn a_limit_keeps_its_id_while_it_keeps_its_size() {
        let mut known = Identities::default();
        let mut id_with = |text: &str| {
            let text = format!(
                "[listeners.web]\naddress = \"127.0.0.1:1\"\n[upstreams.a]\n\
                 endpoints = [\"127.0.0.1:2\"]\n{text}\n[routes.a]\nupstream = \"a\"\n"
            );
            let snapshot = super::super::tests::snapshot(&text, &mut known);
            known.settle(&snapshot);
            snapshot.limit_of("upstreams.a").map(|it| it.id.0)
        };
        assert_eq!(id_with("in_flight.requests_max = 5"), Some(0));
        assert_eq!(id_with("in_flight = { requests_max = 5, queue_max = 7 }"), Some(0));
        assert_eq!(id_with("in_flight.requests_max = 6"), Some(1));
        assert_eq!(id_with(""), None);
        assert_eq!(id_with("in_flight.requests_max = 6"), Some(2));
    }

    #[test]
    fn a_version_that_is_refused_changes_no_id() {
        let mut known = Identities::default();
        let first = snapshot(&[("web", "127.0.0.1:1"), ("api", "127.0.0.1:2")], &mut known);
        known.settle(&first);
        let refused = snapshot(&[("api", "127.0.0.1:3")], &mut known);
        assert_eq!(ids(&refused), [("api", 2)]);
        let next = snapshot(&[("web", "127.0.0.1:1"), ("api", "127.0.0.1:2")], &mut known);
        assert_eq!(ids(&next), ids(&first));
    }
}
