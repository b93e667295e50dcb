//! The order in which handshakes compute.
//!
//! A handshake computes for some 150 microseconds at a stretch. When hundreds begin at once, the
//! exchanges of other connections must not wait for all of them: one computes in each turn of the
//! core, and then everybody else has a turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::net::Net;

/// See the module.
#[derive(Debug, Default)]
pub struct Turns {
    taken: Cell<bool>,
    /// Those who wait, the first in front.
    waiting: RefCell<VecDeque<Waker>>,
}

impl Turns {
    /// Runs `compute` when it is this caller's turn, and lets everybody else run before the next
    /// one.
    pub async fn run<N: Net, T>(&self, net: &N, compute: impl FnOnce() -> T) -> T {
        poll_fn(|cx| {
            if self.taken.get() {
                self.waiting.borrow_mut().push_back(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        let _turn = TakenTurn::begin(self);
        let result = compute();
        net.yield_now().await;
        result
    }
}

/// A turn, for as long as this lives: a panic ends it too.
struct TakenTurn<'a>(&'a Turns);

impl<'a> TakenTurn<'a> {
    fn begin(turns: &'a Turns) -> Self {
        turns.taken.set(true);
        Self(turns)
    }
}

impl Drop for TakenTurn<'_> {
    fn drop(&mut self) {
        self.0.taken.set(false);
        let next = self.0.waiting.borrow_mut().pop_front();
        if let Some(next) = next {
            next.wake();
        }
    }
}
