//! One attempt to connect for all calls that come meanwhile, where a connection carries several
//! requests at once: so far in the test protocol [`mux`](crate::mux).
//!
//! Invariant: while calls follow an attempt, one call leads it.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use engine::stage::Stage;

use super::call::Call;
use super::endpoint::EndpointSlot;
use super::lease::Lent;
use super::mux::AttemptNews;
use super::pool::{Counted, Pool};
use super::queue::OfferWish;
use crate::failure::{Failure, Kind};
use crate::net::Net;

/// The call that makes a connection for others too.
struct Leader<'a, N: Net> {
    pool: &'a Rc<Pool<N>>,
    counted: Option<Counted<N>>,
}

impl<N: Net> Leader<'_, N> {
    fn tell_all(&self, mut news: impl FnMut() -> AttemptNews<N>) {
        let shared = &self.pool.shared;
        while let Some(next) = shared.followers.first_for(self.pool.endpoint()) {
            shared.followers.hand(&next, news());
        }
        shared.connecting.set(false);
    }
}

impl<N: Net> Drop for Leader<'_, N> {
    fn drop(&mut self) {
        let Some(counted) = self.counted.take() else { return };
        let shared = &self.pool.shared;
        match shared.followers.first_for(self.pool.endpoint()) {
            Some(next) => shared.followers.hand(&next, AttemptNews::Lead(counted)),
            None => shared.connecting.set(false),
        }
    }
}

impl<N: Net> Call<'_, N> {
    /// Makes a connection in the room of `counted`, for this call and for those that follow.
    pub(super) async fn lead(
        &self,
        endpoint: &EndpointSlot<N>,
        counted: Counted<N>,
    ) -> Result<Lent<N>, Failure> {
        let pool = &endpoint.pool;
        pool.shared.connecting.set(true);
        let mut leader = Leader { pool, counted: Some(counted) };
        let connected = self.connect(endpoint).await;
        let counted = leader.counted.take();
        match (connected, counted) {
            (Ok(stream), Some(counted)) => {
                let link = pool.share(self.core, stream, counted);
                let lent = pool.lend_stream(&link, false);
                leader.tell_all(|| {
                    self.core.counters.endpoint_reused.add(1);
                    AttemptNews::Lent(pool.lend_stream(&link, false))
                });
                Ok(lent)
            }
            (Err(failure), _) => {
                leader.tell_all(|| AttemptNews::Failed(failure));
                Err(failure)
            }
            (Ok(_), None) => Err(Failure::endpoint(Stage::Connect, Kind::Abandoned)),
        }
    }

    /// Waits for the connection that another call makes.
    pub(super) async fn follow(&self, endpoint: &EndpointSlot<N>) -> Result<Lent<N>, Failure> {
        let pool = &endpoint.pool;
        let news = {
            let left = self.give_up_at.micros_since(self.core.net.now());
            // The other call has its own time, and may hand the attempt on.
            let micros = self.request.timeouts.connect.0.saturating_mul(2).min(left);
            self.upload.arm(self.core.net.now(), micros);
            let place = pool.shared.followers.enter(OfferWish::default(), |news| match news {
                AttemptNews::Lead(counted) => {
                    drop(Leader { pool, counted: Some(counted) });
                }
                AttemptNews::Lent(_) | AttemptNews::Failed(_) => {}
            });
            let late = AttemptNews::Failed(Failure::endpoint(Stage::Connect, Kind::Timeout));
            let mut late = Some(late);
            poll_fn(|cx| {
                if let Poll::Ready(news) = place.poll(cx) {
                    return Poll::Ready(Some(news));
                }
                if self.upload.poll_fired(cx) { Poll::Ready(late.take()) } else { Poll::Pending }
            })
            .await
        };
        self.upload.clear();
        match news {
            Some(AttemptNews::Lent(lent)) => Ok(lent),
            Some(AttemptNews::Lead(counted)) => self.lead(endpoint, counted).await,
            Some(AttemptNews::Failed(failure)) => Err(failure),
            None => Err(Failure::endpoint(Stage::Connect, Kind::Timeout)),
        }
    }
}
