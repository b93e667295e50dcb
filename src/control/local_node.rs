//! The node of this process, as the admin API knows it: [`Node`] for the control thread's handle.

use engine::address::Address;
use engine::balance::EndpointState;
use tokio::time::{Instant, timeout_at};
use worker::message::Fact;

use crate::apply::{self, ChangeFrom, SWITCH_TIMEOUT};
use crate::handle::Control;
use crate::node::{Applied, Change, Node, Refused, Status};

impl Node for Control {
    fn status(&self) -> Status {
        let now = Instant::now();
        let names = self.shared.dns.status(now);
        let checks = self.shared.prober.status();
        Status { names, checks, ..self.shared.state.borrow().status(now) }
    }

    fn ready(&self) -> Vec<String> {
        self.shared.state.borrow().reasons(Instant::now())
    }

    fn config(&self) -> String {
        self.shared.state.borrow().live.model.normalised()
    }

    async fn apply(&self, change: Change) -> Result<Applied, Refused> {
        let Change { text, dry_run, if_match } = change;
        let from = text.map_or(ChangeFrom::File, ChangeFrom::Text);
        apply::queue(self, from, dry_run, if_match).await
    }

    async fn set_endpoint(
        &self,
        upstream: &str,
        address: &Address,
        state: EndpointState,
    ) -> Option<Vec<usize>> {
        let shared = &self.shared;
        if !shared.state.borrow_mut().set_endpoint(upstream, address, state) {
            return None;
        }
        let fact = Fact::Endpoint { upstream: upstream.into(), address: address.clone(), state };
        let number = self.spread(&fact);
        tracing::info!("endpoint {address} of upstream {upstream}: {}", state.word());
        let deadline = Instant::now() + SWITCH_TIMEOUT;
        loop {
            // Listens before it looks, so that no report is missed in between.
            let learned = shared.learned.notified();
            let without = shared.state.borrow().without_fact(number);
            if without.is_empty() || timeout_at(deadline, learned).await.is_err() {
                return Some(without);
            }
        }
    }
}
