//! What the tasks of one core share: its network, buffers, deadlines, table, pools and counts.
//!
//! Nothing in here is seen by another core.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use engine::request_id::Generator;
use engine::snapshot::{Table, UpstreamId};
use proto::head::{RequestHead, ResponseHead};

use crate::deadline::Wheel;
use crate::net::Net;
use crate::net::buffer::Pool;
use crate::telemetry::Counters;
use crate::upstream::UpstreamSlot;

/// One core's state.
pub struct Core<N: Net> {
    /// Its network.
    pub net: N,
    /// Its buffers.
    pub buffers: Pool,
    /// Its deadlines.
    pub wheel: Wheel,
    /// Its counts.
    pub counters: Counters,
    /// Heads that are not in use.
    pub request_heads: Shelf<RequestHead>,
    /// Heads that are not in use.
    pub response_heads: Shelf<ResponseHead>,
    /// Makes request ids.
    pub request_ids: RefCell<Generator>,
    /// Client connections open now.
    pub connections: Cell<usize>,
    /// No new request is taken; what runs may finish.
    pub draining: Cell<bool>,
    table: RefCell<Rc<Table>>,
    upstreams: RefCell<Vec<Rc<UpstreamSlot<N>>>>,
}

impl<N: Net> Core<N> {
    /// The state of one of `cores` cores, with nothing open.
    #[must_use]
    pub fn new(net: N, table: Table, cores: usize, buffer_bytes_max: usize, seed: u64) -> Rc<Self> {
        let slots = table
            .upstreams
            .iter()
            .map(|upstream| Rc::new(UpstreamSlot::new(upstream, cores, seed)))
            .collect();
        Rc::new(Self {
            net,
            buffers: Pool::new(buffer_bytes_max),
            wheel: Wheel::default(),
            counters: Counters::default(),
            request_heads: Shelf::default(),
            response_heads: Shelf::default(),
            request_ids: RefCell::new(Generator::new(seed)),
            connections: Cell::new(0),
            draining: Cell::new(false),
            table: RefCell::new(Rc::new(table)),
            upstreams: RefCell::new(slots),
        })
    }

    /// The table that an exchange starting now keeps to its end.
    #[must_use]
    pub fn table(&self) -> Rc<Table> {
        Rc::clone(&self.table.borrow())
    }

    /// The pools and balancer of an upstream.
    #[must_use]
    pub fn upstream(&self, id: UpstreamId) -> Option<Rc<UpstreamSlot<N>>> {
        self.upstreams.borrow().get(id.0 as usize).cloned()
    }

    /// Closes idle endpoint connections that are too old or that their endpoint has closed.
    pub fn sweep(&self) {
        let now = self.net.now();
        for upstream in self.upstreams.borrow().iter() {
            for pool in &upstream.pools {
                pool.sweep(now);
            }
        }
    }

    /// Closes every idle endpoint connection.
    pub fn close_idle(&self) {
        for upstream in self.upstreams.borrow().iter() {
            for pool in &upstream.pools {
                pool.close_idle();
            }
        }
    }
}

/// Heads that are not in use, kept for their capacity; the one used last on top.
#[derive(Debug)]
pub struct Shelf<T>(RefCell<Vec<Box<T>>>);

/// Heads that a shelf keeps. As many as exchanges run at once on a busy core; a head is 1 to 2 KiB.
const SHELF_MAX: usize = 512;

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

/// What can lie on a shelf.
pub trait Blank {
    /// An empty one.
    fn blank() -> Self;
    /// Empties it and keeps its capacity.
    fn wipe(&mut self);
}

impl Blank for RequestHead {
    fn blank() -> Self {
        Self::new()
    }

    fn wipe(&mut self) {
        self.clear();
    }
}

impl Blank for ResponseHead {
    fn blank() -> Self {
        Self::new()
    }

    fn wipe(&mut self) {
        self.clear();
    }
}

impl<T: Blank> Shelf<T> {
    /// An empty head; it comes back when dropped.
    pub fn take(&self) -> Shelved<'_, T> {
        let head = self.0.borrow_mut().pop().unwrap_or_else(|| Box::new(T::blank()));
        Shelved { shelf: self, head: Some(head) }
    }
}

/// A head in use.
pub struct Shelved<'a, T: Blank> {
    shelf: &'a Shelf<T>,
    head: Option<Box<T>>,
}

impl<T: Blank> Deref for Shelved<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.head {
            Some(head) => head,
            None => unreachable!("a head leaves its loan only in drop"),
        }
    }
}

impl<T: Blank> DerefMut for Shelved<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.head {
            Some(head) => head,
            None => unreachable!("a head leaves its loan only in drop"),
        }
    }
}

impl<T: Blank> Drop for Shelved<'_, T> {
    fn drop(&mut self) {
        let Some(mut head) = self.head.take() else { return };
        let mut shelf = self.shelf.0.borrow_mut();
        if shelf.len() < SHELF_MAX {
            head.wipe();
            shelf.push(head);
        }
    }
}
