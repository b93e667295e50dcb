//! Heads that no exchange uses now, kept for their capacity.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use proto::head::{RequestHead, ResponseHead};

/// Heads that are kept. As many as exchanges run at once on a busy core; a head is 1 to 2 KiB.
const KEPT_MAX: usize = 512;

/// Heads that are not in use, the one used last on top.
#[derive(Debug)]
pub struct Spares<T>(RefCell<Vec<Box<T>>>);

impl<T> Default for Spares<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

/// A head that can be used again.
pub trait Reusable {
    /// An empty one.
    fn empty() -> Self;
    /// Empties it and keeps its capacity.
    fn clear(&mut self);
}

impl Reusable for RequestHead {
    fn empty() -> Self {
        Self::new()
    }

    fn clear(&mut self) {
        Self::clear(self);
    }
}

impl Reusable for ResponseHead {
    fn empty() -> Self {
        Self::new()
    }

    fn clear(&mut self) {
        Self::clear(self);
    }
}

impl<T: Reusable> Spares<T> {
    /// An empty head; it comes back when dropped.
    pub fn take(&self) -> Spare<'_, T> {
        let head = self.0.borrow_mut().pop().unwrap_or_else(|| Box::new(T::empty()));
        Spare { home: self, head: Some(head) }
    }
}

/// A head in use.
pub struct Spare<'a, T: Reusable> {
    home: &'a Spares<T>,
    /// `None` only while this is dropped.
    head: Option<Box<T>>,
}

impl<T: Reusable> Deref for Spare<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.head {
            Some(head) => head,
            None => unreachable!("a head leaves its loan only in drop"),
        }
    }
}

impl<T: Reusable> DerefMut for Spare<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.head {
            Some(head) => head,
            None => unreachable!("a head leaves its loan only in drop"),
        }
    }
}

impl<T: Reusable> Drop for Spare<'_, T> {
    fn drop(&mut self) {
        let Some(mut head) = self.head.take() else { return };
        let mut kept = self.home.0.borrow_mut();
        if kept.len() < KEPT_MAX {
            head.clear();
            kept.push(head);
        }
    }
}
