//! A core that runs short closes idle connections, those of clients first.
//!
//! A core knows how many descriptors are its own ([`CoreShare::descriptors_max`]) and stops accepting
//! before they are gone, so that clients that were let in can be served: an exchange needs two. Where a
//! connection is in the way of another one (descriptors, or `limits.connections_max` of its
//! listener), the one that has been idle for the longest time is closed.
//!
//! Idle connections stand in a list per listener ([`IdleList`]), in the order in which they fell
//! quiet. A connection enters it when it falls quiet and leaves it when it becomes busy, which a
//! steady client never does: nothing here is done per request.
//!
//! [`CoreShare::descriptors_max`]: crate::core::CoreShare::descriptors_max

use std::cell::RefCell;
use std::io;

use engine::time::Instant;
use slab::Slab;

use crate::deadline::{Deadline, Wheel};

/// How long a connection must have been idle to be given up, in microseconds. A client that has
/// just read a response may be sending its next request, which a close would lose.
const AGE_MIN_MICROS: u64 = 100_000;

/// No node.
const NIL: usize = usize::MAX;

/// The client connections of a listener that are idle, the one that has been so for longest first.
#[derive(Debug, Default)]
pub struct IdleList(RefCell<Nodes>);

#[derive(Debug)]
struct Nodes {
    nodes: Slab<Node>,
    oldest: usize,
    newest: usize,
    linked: usize,
}

#[derive(Debug)]
struct Node {
    since: Instant,
    /// Wakes the connection.
    deadline: usize,
    older: usize,
    newer: usize,
    /// It was told to close, and is out of the list.
    shed: bool,
}

impl Default for Nodes {
    fn default() -> Self {
        Self { nodes: Slab::new(), oldest: NIL, newest: NIL, linked: 0 }
    }
}

impl IdleList {
    /// A connection is idle from `now` on, for as long as the returned guard lives. To make it close,
    /// `deadline` is fired before its time.
    pub(crate) fn enter(&self, deadline: &Deadline, now: Instant) -> Idle<'_> {
        let mut nodes = self.0.borrow_mut();
        let older = nodes.newest;
        let node = Node { since: now, deadline: deadline.key(), older, newer: NIL, shed: false };
        let key = nodes.nodes.insert(node);
        match nodes.nodes.get_mut(older) {
            Some(older) => older.newer = key,
            None => nodes.oldest = key,
        }
        nodes.newest = key;
        nodes.linked += 1;
        Idle { list: self, key }
    }

    /// Connections in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.borrow().linked
    }

    /// Whether none is idle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Since when the first one has been idle.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let nodes = self.0.borrow();
        nodes.nodes.get(nodes.oldest).map(|node| node.since)
    }

    /// Makes the first one close, if it has been idle for long enough.
    pub(crate) fn shed(&self, wheel: &Wheel, now: Instant) -> bool {
        let deadline = {
            let mut nodes = self.0.borrow_mut();
            let key = nodes.oldest;
            let Some(node) = nodes.nodes.get_mut(key) else { return false };
            if now.micros_since(node.since) < AGE_MIN_MICROS {
                return false;
            }
            node.shed = true;
            let deadline = node.deadline;
            nodes.unlink(key);
            deadline
        };
        wheel.fire(deadline);
        true
    }
}

impl Nodes {
    fn unlink(&mut self, key: usize) {
        let Some(node) = self.nodes.get(key) else { return };
        let (older, newer) = (node.older, node.newer);
        match self.nodes.get_mut(older) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match self.nodes.get_mut(newer) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        self.linked -= 1;
    }
}

/// A connection's place in an [`IdleList`].
#[derive(Debug)]
pub(crate) struct Idle<'a> {
    list: &'a IdleList,
    key: usize,
}

impl Idle<'_> {
    /// Whether the connection is to close, because others need its descriptor.
    pub(crate) fn is_shed(&self) -> bool {
        self.list.0.borrow().nodes.get(self.key).is_some_and(|node| node.shed)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        let mut nodes = self.list.0.borrow_mut();
        if nodes.nodes.get(self.key).is_some_and(|node| !node.shed) {
            nodes.unlink(self.key);
        }
        nodes.nodes.try_remove(self.key);
    }
}

/// A resource that has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// Descriptors, of the process or of the machine.
    Descriptors,
    /// Memory of the kernel, or its local ports.
    Memory,
}

/// Whether trying again at once would fail the same way, because the machine has run short.
/// Anything else that accept(2) or connect(2) says (`ECONNABORTED`, errors of the network) belongs
/// to the one connection that is gone.
pub(crate) fn exhausted(error: &io::Error) -> Option<Exhausted> {
    match error.raw_os_error()? {
        libc::EMFILE | libc::ENFILE => Some(Exhausted::Descriptors),
        libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL => Some(Exhausted::Memory),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_has_been_idle_for_longest_goes_first_and_none_that_has_just_fallen_idle() {
        let (wheel, list) = (Wheel::default(), IdleList::default());
        let deadlines: Vec<_> = (0..4).map(|_| wheel.deadline()).collect();
        let enter = |at: usize| list.enter(&deadlines[at], Instant(at as u64 * 1_000));
        let (first, second, third, fourth) = (enter(0), enter(1), enter(2), enter(3));
        assert!(!list.shed(&wheel, Instant(AGE_MIN_MICROS - 1)));
        drop(second);
        let late = Instant(AGE_MIN_MICROS + 2_000);
        assert!(list.shed(&wheel, late));
        assert!(first.is_shed() && !third.is_shed());
        assert!(list.shed(&wheel, late));
        assert!(third.is_shed() && !fourth.is_shed());
        assert!(!list.shed(&wheel, late), "the last one is too young");
        assert_eq!(list.len(), 1);
        drop((third, first));
        assert_eq!((list.len(), list.oldest()), (1, Some(Instant(3_000))));
        drop(fourth);
        assert!(list.is_empty() && !list.shed(&wheel, Instant(u64::MAX)));
        drop(enter(1));
        assert_eq!(list.0.borrow().nodes.len(), 0);
    }

    #[test]
    fn only_shortage_is_taken_for_shortage() {
        let of = |code| exhausted(&io::Error::from_raw_os_error(code));
        assert_eq!(of(libc::EMFILE), Some(Exhausted::Descriptors));
        assert_eq!(of(libc::ENOBUFS), Some(Exhausted::Memory));
        assert_eq!(of(libc::ECONNABORTED), None);
        assert_eq!(of(libc::ECONNREFUSED), None);
    }
}
