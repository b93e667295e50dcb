//! The names of listeners, for counts and records that hold their ids.

use std::collections::HashMap;

use engine::snapshot::ListenerId;

/// The value of a label that stands for everything beyond a bound.
pub(crate) const OTHER: &str = "__other__";

/// Which name of [`ListenerNames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenerName(usize);

/// The names of all listeners that ever were. A listener that moves to another address gets a new
/// id and keeps its name, and its series.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenerNames {
    names: Vec<Box<str>>,
    by_id: HashMap<ListenerId, ListenerName>,
}

impl ListenerNames {
    /// Notes a name.
    pub(crate) fn learn(&mut self, id: ListenerId, name: &str) {
        let known = self.names.iter().position(|it| &**it == name);
        let index = known.unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        });
        self.by_id.insert(id, ListenerName(index));
    }

    /// The name of a listener.
    pub(crate) fn of(&self, id: ListenerId) -> &str {
        self.by_id.get(&id).map_or(OTHER, |&name| self.text(name))
    }

    /// What a name of this table is.
    pub(crate) fn text(&self, name: ListenerName) -> &str {
        self.names.get(name.0).map_or(OTHER, |it| it)
    }

    /// The name of a listener, as what [`ListenerNames::text`] takes.
    pub(crate) fn known(&self, id: ListenerId) -> ListenerName {
        self.by_id.get(&id).copied().unwrap_or(ListenerName(usize::MAX))
    }
}
