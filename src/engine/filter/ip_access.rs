//! `ip_access`: clients by their address.

use super::{Filter, FilterKeys, FilterReply, FilterRequest, FilterShare, Hooks, RequestVerdict};
use crate::address::Network;
use crate::keys::{KeyRule, section};
use crate::reason::Reason;

section! {
    /// Lets clients in by their address, and answers others 403. The address is the client's, also
    /// behind a trusted proxy.
    #[derive(Eq)]
    pub settings IpAccess {
        /// Blocks of addresses, and "unix" for clients of a Unix socket. Only these are let in. Absent:
        /// everybody who is not in `deny`.
        allow: Option<Vec<Network>> => KeyRule::optional("[\"10.0.0.0/8\", \"unix\"]");
        /// Blocks of addresses that are not let in, even where `allow` holds them.
        deny: Vec<Network> => KeyRule::default(Vec::new()).example("[\"10.9.0.0/16\"]");
    }
}

impl FilterKeys for IpAccess {
    type Running = Self;

    fn start(&self, _: FilterShare, _: Option<&Self>) -> Self {
        self.clone()
    }
}

impl Filter for IpAccess {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn on_request(&self, request: &mut FilterRequest<'_>) -> RequestVerdict {
        let is_in = |networks: &[Network]| networks.iter().any(|it| it.contains(request.client));
        if is_in(&self.deny) || self.allow.as_deref().is_some_and(|allow| !is_in(allow)) {
            return FilterReply::refuse(Reason::AddressDenied);
        }
        RequestVerdict::Continue
    }
}
