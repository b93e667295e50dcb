//! A queue of calls that wait: because every pool of their upstream is full, or for others to end.
//!
//! A pool does not wake a call to look for itself. It *hands* a thing over (an idle connection, or
//! the room for a new one) to the first call in the queue that can use it. So a call that comes
//! later never takes a thing that an earlier one waits for, and a pool on which nobody waits only
//! looks at a count.
//!
//! Invariant: a thing that was handed over and not taken goes back, when its call leaves the queue.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use super::label::EndpointId;

/// See the module. `T` is the thing that a call waits for.
pub struct WaitQueue<T> {
    /// In the order of arrival, which is the order of their tickets.
    waiters: RefCell<VecDeque<Waiter<T>>>,
    /// Those of them that were handed nothing yet.
    waiting: Cell<usize>,
    next_ticket: Cell<u64>,
}

struct Waiter<T> {
    ticket: u64,
    wish: OfferWish,
    waker: Option<Waker>,
    handed: Option<T>,
}

/// The things that a call can use.
#[derive(Clone, Debug, Default)]
pub struct OfferWish {
    /// It has no use for these endpoints. Mostly empty, which costs nothing.
    pub avoid: Vec<EndpointId>,
    /// It needs a new connection.
    pub only_new: bool,
}

impl<T> Default for WaitQueue<T> {
    fn default() -> Self {
        Self { waiters: RefCell::default(), waiting: Cell::new(0), next_ticket: Cell::new(0) }
    }
}

impl<T> std::fmt::Debug for WaitQueue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitQueue").field("waiting", &self.waiting).finish()
    }
}

impl<T> WaitQueue<T> {
    /// Calls that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.get()
    }

    /// Whether no call waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.get() == 0
    }

    /// A call joins the queue, and stays for as long as the returned place lives. `put_back` takes
    /// a thing that was handed over too late.
    pub fn enter<P: Fn(T)>(&self, wish: OfferWish, put_back: P) -> QueuePlace<'_, T, P> {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        let waiter = Waiter { ticket, wish, waker: None, handed: None };
        self.waiters.borrow_mut().push_back(waiter);
        self.waiting.set(self.waiting.get() + 1);
        QueuePlace { queue: self, ticket, put_back }
    }

    /// A call joins the queue that can use anything.
    pub fn enter_plain<P: Fn(T)>(&self, put_back: P) -> QueuePlace<'_, T, P> {
        self.enter(OfferWish::default(), put_back)
    }

    /// The first call that waits.
    #[must_use]
    pub fn first(&self) -> Option<NextWaiter> {
        self.first_of(|_| true)
    }

    /// The first call that waits and can use this endpoint.
    #[must_use]
    pub fn first_for(&self, endpoint: EndpointId) -> Option<NextWaiter> {
        self.first_of(|wish| !wish.avoid.contains(&endpoint))
    }

    fn first_of(&self, can_use: impl Fn(&OfferWish) -> bool) -> Option<NextWaiter> {
        if self.is_empty() {
            return None;
        }
        let waiters = self.waiters.borrow();
        let fits = |waiter: &&Waiter<T>| waiter.handed.is_none() && can_use(&waiter.wish);
        let next = waiters.iter().find(fits)?;
        Some(NextWaiter { ticket: next.ticket, only_new: next.wish.only_new })
    }

    /// Hands `thing` to the call that [`WaitQueue::first_for`] has just found, and wakes it.
    pub fn hand(&self, to: &NextWaiter, thing: T) {
        let waker = {
            let mut waiters = self.waiters.borrow_mut();
            let Ok(at) = waiters.binary_search_by_key(&to.ticket, |waiter| waiter.ticket) else {
                return;
            };
            let Some(waiter) = waiters.get_mut(at) else { return };
            debug_assert!(waiter.handed.is_none(), "it was found among those that wait");
            waiter.handed = Some(thing);
            waiter.waker.take()
        };
        self.waiting.set(self.waiting.get() - 1);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A call that waits. Nothing else may happen to the queue between finding it and handing it a thing.
#[derive(Debug)]
pub struct NextWaiter {
    ticket: u64,
    /// It needs a new connection.
    pub only_new: bool,
}

/// A place in a queue. Dropping it leaves the queue.
pub struct QueuePlace<'a, T, P: Fn(T)> {
    queue: &'a WaitQueue<T>,
    ticket: u64,
    put_back: P,
}

impl<T, P: Fn(T)> QueuePlace<'_, T, P> {
    /// Waits for a thing. A call that has no use for a thing may wait again, at the same place.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<T> {
        let mut waiters = self.queue.waiters.borrow_mut();
        let at = waiters.binary_search_by_key(&self.ticket, |waiter| waiter.ticket);
        let Some(waiter) = at.ok().and_then(|at| waiters.get_mut(at)) else {
            return Poll::Pending;
        };
        if let Some(thing) = waiter.handed.take() {
            self.queue.waiting.set(self.queue.waiting.get() + 1);
            return Poll::Ready(thing);
        }
        if !waiter.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            waiter.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl<T, P: Fn(T)> Drop for QueuePlace<'_, T, P> {
    fn drop(&mut self) {
        let queue = self.queue;
        let waiter = {
            let mut waiters = queue.waiters.borrow_mut();
            let at = waiters.binary_search_by_key(&self.ticket, |waiter| waiter.ticket);
            at.ok().and_then(|at| waiters.remove(at))
        };
        match waiter.map(|waiter| waiter.handed) {
            // It may go to the next call in the queue at once.
            Some(Some(thing)) => (self.put_back)(thing),
            Some(None) => queue.waiting.set(queue.waiting.get() - 1),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: EndpointId = EndpointId(1);
    const TWO: EndpointId = EndpointId(2);

    fn taken<P: Fn(u32)>(place: &QueuePlace<'_, u32, P>) -> Option<u32> {
        match place.poll(&Context::from_waker(Waker::noop())) {
            Poll::Ready(thing) => Some(thing),
            Poll::Pending => None,
        }
    }

    fn hand(queue: &WaitQueue<u32>, endpoint: EndpointId, thing: u32) -> bool {
        let next = queue.first_for(endpoint);
        next.is_some_and(|next| {
            queue.hand(&next, thing);
            true
        })
    }

    fn avoiding(endpoint: EndpointId) -> OfferWish {
        OfferWish { avoid: vec![endpoint], only_new: false }
    }

    #[test]
    fn things_go_to_those_that_wait_in_the_order_of_arrival() {
        let queue = WaitQueue::default();
        let put_back = |thing| panic!("{thing} was taken");
        let (first, second) = (
            queue.enter(OfferWish::default(), put_back),
            queue.enter(OfferWish::default(), put_back),
        );
        assert!(hand(&queue, ONE, 10) && hand(&queue, TWO, 20));
        assert!(!hand(&queue, ONE, 30), "nobody waits");
        assert_eq!((taken(&second), taken(&first)), (Some(20), Some(10)));
        drop(first);
        assert_eq!((queue.len(), taken(&second)), (1, None));
        drop(second);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_call_is_passed_over_for_an_endpoint_that_it_avoids() {
        let queue = WaitQueue::default();
        let put_back = |_| {};
        let (first, second) =
            (queue.enter(avoiding(ONE), put_back), queue.enter(OfferWish::default(), put_back));
        assert!(hand(&queue, ONE, 10) && hand(&queue, TWO, 20));
        assert_eq!((taken(&first), taken(&second)), (Some(20), Some(10)));
    }

    #[test]
    fn a_thing_that_was_not_taken_goes_back() {
        let (queue, back) = (WaitQueue::default(), Cell::new(0));
        let place = queue.enter(OfferWish::default(), |thing| back.set(thing));
        assert!(hand(&queue, ONE, 10));
        drop(place);
        assert_eq!((back.get(), queue.len()), (10, 0));
    }

    #[test]
    fn a_call_that_had_no_use_for_a_thing_keeps_its_place() {
        let queue = WaitQueue::default();
        let put_back = |_| {};
        let (first, second) = (
            queue.enter(OfferWish::default(), put_back),
            queue.enter(OfferWish::default(), put_back),
        );
        assert!(hand(&queue, ONE, 10));
        assert_eq!(taken(&first), Some(10));
        assert!(hand(&queue, ONE, 11));
        assert_eq!((taken(&first), taken(&second)), (Some(11), None));
    }
}
